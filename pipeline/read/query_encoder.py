"""What a reader asks, as a vector: by the encoder of the release, found again and proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Encoder
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import differences
from commonspace.pipeline.canary.check import check_canary
from commonspace.pipeline.canary.reference import published_canary
from commonspace.pipeline.contract.contract import Contract, bad_vectors
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.storage.store import Store


class Queries:
    """Unit vectors (dim,) float32 to search a release with; the encoder is loaded once."""

    def __init__(self, store: Store, name: SpaceName, release: Release, contract: Contract) -> None:
        self._store, self._name, self._release, self._contract = store, name, release, contract
        self._encoder: Encoder | None = None

    def given(self, vector: ArrayLike) -> NDArray[np.float32]:
        """A vector of the asker's own, brought to norm 1. Raises UserMistake."""
        found: NDArray[np.float32] = np.asarray(vector, np.float32)
        if found.shape != (self._contract.spec.dim,):
            shape = f"{found.shape}, not ({self._contract.spec.dim},)"
            raise UserMistake(f"the query vector has shape {shape}", item=str(self._name))
        norm = float(np.linalg.norm(found))
        if not np.isfinite(norm) or norm == 0:
            raise UserMistake("the query vector is zero or not finite", item=str(self._name))
        return (found / norm).astype(np.float32)

    def encoded(self, text: str | None, image: bytes | str | Path | None) -> NDArray[np.float32]:
        """The vector of a text, or of an image. Raises UserMistake or ContractBroken."""
        spec = self._contract.spec
        wanted = "text" if text is not None else "image"
        if wanted not in (spec.modality, *spec.queries):
            raise UserMistake(
                f"this is a space of {spec.modality}s: it cannot be searched by {wanted}",
                item=str(self._name),
            )
        content = text if text is not None else _image_bytes(image)
        if self._encoder is None:
            self._encoder = load_encoder(self._store, self._name, self._release, self._contract)
        found = self._encoder.encode([content], purpose="query")
        if found.failures:
            raise UserMistake(f"the query cannot be encoded: {found.failures[0].message}")
        if bad_vectors(found.vectors, spec).any():
            raise ContractBroken("the encoder gave an unusable vector", item=str(self._name))
        vector: NDArray[np.float32] = found.vectors[0]
        return vector


def load_encoder(store: Store, name: SpaceName, release: Release, contract: Contract) -> Encoder:
    """The encoder that made the release, proved by its fingerprint and by the space's canary.

    A space that was published before there were canaries has none: its fingerprint alone counts.
    Raises ContractBroken.
    """
    canary = published_canary(store, name, contract, release.canary)
    encoder = unchecked_encoder(release, contract)
    if canary is not None and not (flight := check_canary(canary, encoder)).ok:
        raise ContractBroken(
            flight.what,
            item=str(name),
            retry=flight.retry,
            do=f"{flight.do}\n  Search by vector or id works without the encoder.",
        )
    return encoder


def unchecked_encoder(release: Release, contract: Contract) -> Encoder:
    """The encoder of the release's fingerprint. Raises ContractBroken."""
    reference = EncoderReference.from_json(release.encoder)
    spec = catalog.describe(reference)
    if spec.fingerprint != contract.fingerprint:
        found = "\n  ".join(str(d) for d in differences(contract.spec, spec))
        raise ContractBroken(
            f"the encoder {reference.name} is no longer the one that made its vectors:\n  {found}",
            item=contract.space,
            do="Restore the model; search by vector or id works without it.",
        )
    return catalog.load(reference)


def _image_bytes(image: bytes | str | Path | None) -> bytes:
    """The bytes of an image file, or those given."""
    if not isinstance(image, str | Path):
        return image or b""
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise UserMistake(f"cannot be read: {error.strerror}", item=str(image)) from error
