"""The canary: fixed probes, and the vectors that they had when a space was first published.

A library, a kernel, a decoder or a precision may change vectors while no label changes; then
the probes' vectors change too. `flight.py` encodes them again and compares.

<collection>/<space>/vN/canary.parquet                  from the first release on
.runs/<collection>/shards/<space>-vN-…/canary.parquet   before it, beside what was encoded under it
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
from commonspace.pipeline.contract.layout import canary_key, candidate_canary_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.store import Store

PROBES = 32
_METADATA = b"commonspace canary"


@dataclass(frozen=True)
class Canary:
    """What is encoded, and what came of it in the beginning.

    vectors: (n, dim) float32, unit; zeros for a probe that has a reason to have none.
    origin: `run`, `device` and `versions` of that beginning, and its `fingerprint`.
    remedy: what can be done where an encoder no longer agrees.
    """

    probes: Sequence[Content]
    vectors: NDArray[np.float32]
    reasons: Sequence[str | None]
    origin: Mapping[str, Any]
    remedy: str = ""

    def to_bytes(self, spec: EncoderSpec) -> pa.Buffer:
        """As `canary.parquet`: `probe` (UTF-8, or the image file), `vector`, `reason`."""
        schema = _schema(spec)
        probes = [p.encode() if isinstance(p, str) else p for p in self.probes]
        flat = pa.array(self.vectors.reshape(-1), pa.float32())
        vectors = pa.FixedSizeListArray.from_arrays(flat, type=vector_type(spec))
        columns = {"probe": probes, "vector": vectors, "reason": list(self.reasons)}
        metadata = {_METADATA: json.dumps(dict(self.origin), sort_keys=True)}
        return parquet_bytes(pa.table(columns, schema=schema.with_metadata(metadata)))


def published_canary(
    store: Store, name: SpaceName, contract: Contract, pinned: str | None
) -> Canary | None:
    """The canary of a space; None where it was published before there were canaries.

    pinned: the file's sha256 as the release names it. Raises ContractBroken for a file that is
    missing, another than the release's, or damaged.
    """
    key = canary_key(name)
    data = store.read(key)
    lost = (
        "Restore the file from a copy. Without it nothing proves that the encoder still makes "
        f"the vectors of the space: set version = {name.version + 1} to fill a new one beside it."
    )
    if pinned is not None and data is None:
        raise ContractBroken("is missing", item=key, do=lost)
    if data is None:
        return None
    if pinned is not None and hashlib.sha256(data).hexdigest() != pinned:
        raise ContractBroken("is not the file that was published", item=key, do=lost)
    remedy = (
        f"Restore what computed them, or set version = {name.version + 1} for this space to fill "
        "a new one beside it."
    )
    return _read(data, key, contract.spec, remedy, lost)


def candidate_canary(store: Store, name: SpaceName, contract: Contract) -> Canary | None:
    """What the space's finished shards, of no release yet, were encoded under."""
    key = candidate_canary_key(name, contract.fingerprint)
    data = store.read(key)
    if data is None:
        return None
    remedy = (
        "No release rests on them yet. Run where that run did; or, to begin anew, remove "
        f"{key.rpartition('/')[0]} with its finished shards from the warehouse."
    )
    return _read(data, key, contract.spec, remedy, remedy)


def publish_canary(store: Store, name: SpaceName, contract: Contract) -> str | None:
    """Put the space's canary beside its contract where there is none yet; its sha256.

    None where nothing was ever encoded under one.
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


def _read(data: pa.Buffer, key: str, spec: EncoderSpec, remedy: str, lost: str) -> Canary:
    try:
        table = read_table(data, key)
        origin = json.loads((table.schema.metadata or {})[_METADATA])
        if origin["fingerprint"] != spec.fingerprint:
            raise ContractBroken("was made by another encoder", item=key, do=lost)
        columns = table.cast(_schema(spec)).to_pydict()
        probes = [p.decode() if spec.modality == "text" else p for p in columns["probe"]]
        vectors = np.array(columns["vector"], np.float32).reshape(-1, spec.dim)
        there = [reason is None for reason in columns["reason"]]
        if len(probes) != PROBES or not any(there) or bad_vectors(vectors[there], spec).any():
            raise ContractBroken(f"does not hold {PROBES} probes with vectors", item=key, do=lost)
    except ContractBroken as error:
        raise ContractBroken(error.what, item=key, do=lost) from error
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ContractBroken(f"is no canary of this space: {error}", item=key, do=lost) from error
    return Canary(probes, vectors, columns["reason"], origin, remedy)
