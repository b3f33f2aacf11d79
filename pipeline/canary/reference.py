"""The canary: fixed probes, and the reference vectors that they had when a space was new.

A library, a kernel, a decoder or a precision may change vectors while no version or file of the
model changes; then the probes' vectors change too. `check.py` encodes them again and compares.

<collection>/<space>/vN/canary.parquet                  from the first release on
.runs/<collection>/shards/<space>-vN-…/canary.parquet   before that, beside the finished shards
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.encoders.protocol import Content
from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.contract.columns import vector_type
from commonspace.pipeline.contract.contract import Contract, bad_vectors
from commonspace.pipeline.contract.documents import DAMAGE
from commonspace.pipeline.contract.layout import canary_key, candidate_canary_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.store import Store

PROBES = 32
_METADATA = b"commonspace canary"
"""Where the file's schema keeps `origin`, as JSON."""


@dataclass(frozen=True)
class Canary:
    """The probes, and the reference vectors that they had.

    probes: n texts, or n image files.
    vectors: (n, dim) float32, of norm 1; zeros for a probe that has none.
    reasons: for each probe why it has no vector, or None where it has one.
    origin: the `run`, `device`, `versions` and `fingerprint` that the vectors were made with.
    remedy: what to do where an encoder no longer agrees.
    """

    probes: Sequence[Content]
    vectors: NDArray[np.float32]
    reasons: Sequence[str | None]
    origin: Mapping[str, Any]
    remedy: str = ""

    def to_bytes(self, spec: EncoderSpec) -> pa.Buffer:
        """The bytes of `canary.parquet`: `probe` (UTF-8, or an image file), `vector`, `reason`."""
        schema = _schema(spec)
        probes = [probe.encode() if isinstance(probe, str) else probe for probe in self.probes]
        flat = pa.array(self.vectors.reshape(-1), pa.float32())
        vectors = pa.FixedSizeListArray.from_arrays(flat, type=vector_type(spec))
        columns = {"probe": probes, "vector": vectors, "reason": list(self.reasons)}
        metadata = {_METADATA: json.dumps(dict(self.origin), sort_keys=True)}
        return parquet_bytes(pa.table(columns, schema=schema.with_metadata(metadata)))


def read_published_canary(
    store: Store, name: SpaceName, contract: Contract, pinned: str | None
) -> Canary | None:
    """The canary of a published space; None where no release has made one yet.

    Args:
        pinned: the file's sha256 as the release names it, if it names one.

    Raises:
        ContractBroken: the file is missing, another than the release's, or damaged.
    """
    key = canary_key(name)
    data = store.read(key)
    restore_hint = (
        "Restore the file from a copy. Without it nothing shows whether the encoder still makes "
        f"the vectors of the space; set version = {name.version + 1} to fill a new space beside it."
    )
    if pinned is not None and data is None:
        raise ContractBroken("is missing", item=key, do=restore_hint)
    if data is None:
        return None
    if pinned is not None and hashlib.sha256(data).hexdigest() != pinned:
        raise ContractBroken("is not the file that was published", item=key, do=restore_hint)
    remedy = (
        "Go back to the versions and the device that made them, or set "
        f"version = {name.version + 1} for this space to fill a new one beside it."
    )
    return _parse(data, key, contract.spec, remedy=remedy, restore_hint=restore_hint)


def read_candidate_canary(store: Store, name: SpaceName, contract: Contract) -> Canary | None:
    """The canary of the finished shards that no release of the space holds yet, if any.

    Raises:
        ContractBroken: the file is damaged.
    """
    key = candidate_canary_key(name, contract.fingerprint)
    data = store.read(key)
    if data is None:
        return None
    remedy = (
        "No release holds them yet. Run again with the versions and on the device of that run; or, "
        f"to start over, remove {key.rpartition('/')[0]} with its finished shards from the "
        "warehouse."
    )
    return _parse(data, key, contract.spec, remedy=remedy, restore_hint=remedy)


def publish_canary(store: Store, name: SpaceName, contract: Contract) -> str | None:
    """Publish the candidate canary of a space that has none published yet.

    Returns:
        sha256 in hex digits of the published canary; None where there is none.
    """
    key = canary_key(name)
    candidate = store.read(candidate_canary_key(name, contract.fingerprint))
    if candidate is not None:
        store.put_if_absent(key, candidate)
    data = store.read(key)
    return None if data is None else hashlib.sha256(data).hexdigest()


def _schema(spec: EncoderSpec) -> pa.Schema:
    return pa.schema(
        [
            pa.field("probe", pa.binary(), nullable=False),
            pa.field("vector", vector_type(spec), nullable=False),
            pa.field("reason", pa.string()),
        ]
    )


def _parse(
    data: pa.Buffer, key: str, spec: EncoderSpec, *, remedy: str, restore_hint: str
) -> Canary:
    """The canary in the bytes of its file. Raises ContractBroken."""
    try:
        table = read_table(data, key)
        origin = json.loads((table.schema.metadata or {})[_METADATA])
        if not {"run", "device"} <= origin.keys() or not isinstance(origin["versions"], dict):
            raise ContractBroken("does not say what made it", item=key)
        if origin["fingerprint"] != spec.fingerprint:
            raise ContractBroken("was made by another encoder", item=key)
        columns = table.cast(_schema(spec)).to_pydict()
        probes = [p.decode() if spec.modality == "text" else p for p in columns["probe"]]
        vectors = np.array(columns["vector"], np.float32).reshape(-1, spec.dim)
        has_vector = [reason is None for reason in columns["reason"]]
        is_bad = bad_vectors(vectors[has_vector], spec)
        if len(probes) != PROBES or not any(has_vector) or is_bad.any():
            raise ContractBroken(f"does not hold {PROBES} probes with vectors", item=key)
    except ContractBroken as error:
        raise ContractBroken(error.what, item=key, do=restore_hint) from error
    except (*DAMAGE, pa.ArrowException) as error:
        raise ContractBroken(
            f"is not a canary of this space: {error}", item=key, do=restore_hint
        ) from error
    return Canary(probes, vectors, columns["reason"], origin, remedy)
