"""Query vectors, made by the encoder of the release once it has been checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Encoder
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import differences
from commonspace.pipeline.canary.check import check_canary
from commonspace.pipeline.canary.reference import read_published_canary
from commonspace.pipeline.contract.contract import Contract, bad_vectors
from commonspace.pipeline.contract.documents import DAMAGE, check_types, damage
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.storage.store import Store


class QueryEncoder:
    """Makes the unit vectors (dim,) float32 that a release is searched with.

    The encoder is loaded when the first text or image is encoded, and once.
    """

    def __init__(self, store: Store, name: SpaceName, release: Release, contract: Contract) -> None:
        self._store, self._name, self._release, self._contract = store, name, release, contract
        self._encoder: Encoder | None = None

    def normalised(self, vector: ArrayLike) -> NDArray[np.float32]:
        """The user's own vector, scaled to norm 1.

        Raises:
            UserMistake: it is not of numbers, has another shape, is zero or is not finite.
        """
        try:
            query: NDArray[np.float32] = np.asarray(vector, np.float32)
        except (TypeError, ValueError) as error:
            raise UserMistake(
                f"the query vector is not made of numbers: {error}", item=str(self._name)
            ) from error
        if query.shape != (self._contract.spec.dim,):
            shape = f"{query.shape}, not ({self._contract.spec.dim},)"
            raise UserMistake(f"the query vector has shape {shape}", item=str(self._name))
        norm = float(np.linalg.norm(query))
        if not np.isfinite(norm) or norm == 0:
            raise UserMistake("the query vector is zero or not finite", item=str(self._name))
        return (query / norm).astype(np.float32)

    def encode(self, text: str | None, image: bytes | str | Path | None) -> NDArray[np.float32]:
        """The vector of a text or, where that is None, of an image.

        Raises:
            UserMistake: the space has no such queries, or this one cannot be encoded.
            ContractBroken: the encoder is not the one that made the release.
        """
        spec = self._contract.spec
        modality = "text" if text is not None else "image"
        if modality not in (spec.modality, *spec.queries):
            raise UserMistake(
                f"this is a space of {spec.modality}s: it cannot be searched by {modality}",
                item=str(self._name),
            )
        content = text if text is not None else _image_bytes(image)
        if self._encoder is None:
            self._encoder = load_encoder(self._store, self._name, self._release, self._contract)
        encoded = self._encoder.encode([content], purpose="query")
        for failure in (*encoded.failures.values(), *encoded.unreadable.values()):
            raise UserMistake(f"the query cannot be encoded: {failure.message}")
        if bad_vectors(encoded.vectors, spec).any():
            raise ContractBroken("the encoder gave an unusable vector", item=str(self._name))
        vector: NDArray[np.float32] = encoded.vectors[0]
        return vector


def load_encoder(store: Store, name: SpaceName, release: Release, contract: Contract) -> Encoder:
    """The encoder that made the release, checked by its fingerprint and by the space's canary.

    A space that was published before there were canaries is checked by its fingerprint alone.

    Raises:
        ContractBroken: it is another encoder, or makes other vectors than it did.
    """
    canary = read_published_canary(store, name, contract, release.canary)
    encoder = unchecked_encoder(release, contract)
    if canary is not None and not (check := check_canary(canary, encoder)).ok:
        raise ContractBroken(
            check.what,
            item=str(name),
            retry=check.retry,
            do=f"{check.do}\n  Search by vector or id works without the encoder.",
        )
    return encoder


def unchecked_encoder(release: Release, contract: Contract) -> Encoder:
    """The encoder that the release names, checked by its fingerprint only.

    Raises:
        ContractBroken: it is another encoder by now.
    """
    reference = _reference(release)
    spec = catalog.describe(reference)
    if spec.fingerprint != contract.fingerprint:
        changed = "\n  ".join(str(d) for d in differences(contract.spec, spec))
        raise ContractBroken(
            f"the encoder {reference.name} is no longer the one that made its vectors:\n"
            f"  {changed}",
            item=contract.space,
            do="Restore the model; search by vector or id works without it.",
        )
    return catalog.load(reference)


def _reference(release: Release) -> EncoderReference:
    try:
        reference = EncoderReference.from_json(release.encoder)
        check_types(reference)
    except DAMAGE as error:
        raise ContractBroken(
            f"the manifest of release {release.number} names no encoder: {damage(error)}",
            item=release.space,
            do="Search by vector or id works without it.",
        ) from error
    return reference


def _image_bytes(image: bytes | str | Path | None) -> bytes:
    """The bytes of an image file, or those given."""
    if not isinstance(image, str | Path):
        return image or b""
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise UserMistake(f"cannot be read: {error.strerror}", item=str(image)) from error
