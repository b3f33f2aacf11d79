"""What a space promises: its name, its spec, its columns; checked on every write and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.encoders.spec import EncoderSpec, differences
from commonspace.encoders.vectors import norms
from commonspace.pipeline.contract.columns import (
    COLUMN_TYPES,
    passage_fields,
    provenance_fields,
    vector_type,
)
from commonspace.pipeline.contract.layout import spec_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.store import Store

METADATA_KEY = b"commonspace"
NORM_TOLERANCE = 1e-3
"""How far a unit vector's Euclidean norm may stand from 1; float32 sums of 2048 squares
stay below 1e-5, so this only catches vectors that were never normalised."""


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True)
class Contract:
    """The agreement stored with a space, in its files and in its table."""

    space: str
    fingerprint: str
    spec: EncoderSpec
    metadata: Mapping[str, str]
    """Metadata columns by declared type."""

    @classmethod
    def of(cls, name: SpaceName, spec: EncoderSpec, metadata: Mapping[str, str]) -> Contract:
        # One order of columns, whatever the file's: what is stored has its keys sorted.
        return cls(str(name), spec.fingerprint, spec, dict(sorted(metadata.items())))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Contract:
        """Raises ValueError, TypeError, KeyError or AttributeError for what `of` has not made."""
        written = json.dumps(
            value["spec"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        if hashlib.sha256(written.encode()).hexdigest() != value["fingerprint"]:
            raise ValueError("its fingerprint is not that of its spec")
        if not set(value["metadata"].values()) <= COLUMN_TYPES.keys():
            raise ValueError("a metadata column has no known type")
        spec = EncoderSpec.from_json(value["spec"])
        return cls(value["space"], value["fingerprint"], spec, value["metadata"])

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self), sort_keys=True, indent=1) + "\n").encode()

    @property
    def item_column(self) -> str:
        """The column that names a row's item: its `id`, unless rows are passages."""
        return "item" if passage_fields(self.spec) else "id"

    @property
    def item_columns(self) -> list[str]:
        """The columns a row has from its item and its place there, not from its content."""
        places = [field.name for field in passage_fields(self.spec)]
        return ["id", "partition", "source_uri", "row_digest", *places, *self.metadata]

    @property
    def schema(self) -> pa.Schema:
        """The columns of every part and of the LanceDB table, the contract in the metadata."""
        return pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                pa.field("vector", vector_type(self.spec), nullable=False),
                *passage_fields(self.spec),
                *(pa.field(name, COLUMN_TYPES[kind]) for name, kind in self.metadata.items()),
                *provenance_fields(self.spec),
                pa.field("partition", pa.string()),
                pa.field("source_uri", pa.string(), nullable=False),
                pa.field("content_digest", pa.string(), nullable=False),
                pa.field("row_digest", pa.string(), nullable=False),
                pa.field("encoded_at", pa.timestamp("us", tz="UTC"), nullable=False),
                pa.field("run", pa.string(), nullable=False),
            ],
            metadata={METADATA_KEY: json.dumps(asdict(self), sort_keys=True)},
        )


def load_contract(store: Store, name: SpaceName) -> Contract | None:
    """The contract a space was first published under, or None where it never was."""
    data = store.read(spec_key(name))
    if data is None:
        return None
    try:
        contract = Contract.from_json(json.loads(data.to_pybytes()))
        if contract.space != str(name):
            raise ValueError(f"it is that of {contract.space}")
    except _UNREADABLE as error:
        raise ContractBroken(
            f"is damaged: {error}",
            item=spec_key(name),
            do="Restore the file from a copy.",
        ) from error
    return contract


def require_same_contract(store: Store, name: SpaceName, contract: Contract) -> None:
    """Refuse a contract that differs from the stored one; the first one is yet to be stored.

    Raises ContractBroken, naming every difference.
    """
    stored = load_contract(store, name)
    if stored is None or stored == contract:
        return
    found = [str(difference) for difference in differences(stored.spec, contract.spec)]
    for column in sorted(stored.metadata.keys() | contract.metadata.keys()):
        old, new = stored.metadata.get(column), contract.metadata.get(column)
        if old != new:
            found.append(f"metadata column {column}: {old or 'nothing'} -> {new or 'nothing'}")
    raise ContractBroken(
        "the space was published under another contract:\n  " + "\n  ".join(found),
        item=str(name),
        do=f"Its vectors or columns would be mixed. Set version = {name.version + 1} for this "
        f"space to fill a new one beside it, or restore what changed.",
    )


def check_schema(found: pa.Schema, contract: Contract, where: str) -> None:
    """Refuse a file or table whose columns or stored contract differ. Raises ContractBroken."""
    expected = contract.schema
    faults = [
        f"column {name}: {_type(expected, name)} agreed, {_type(found, name)} found"
        for name in dict.fromkeys([*expected.names, *found.names])
        if _type(expected, name) != _type(found, name)
    ]
    written = (found.metadata or {}).get(METADATA_KEY)
    if written is None:
        faults.append("it carries no contract")
    else:
        faults += _contract_differences(written, contract)
    if faults:
        raise ContractBroken(
            "does not keep the contract:\n  " + "\n  ".join(faults),
            item=where,
            do=f"Something other than commonspace wrote to {contract.space}. "
            "`commonspace verify` says what is whole.",
        )


def _contract_differences(written: bytes, contract: Contract) -> list[str]:
    """How the contract that a file carries differs from the agreed one."""
    try:
        stored = Contract.from_json(json.loads(written))
    except _UNREADABLE as error:
        return [f"the contract it carries is damaged: {error}"]
    belongs = [] if stored.space == contract.space else [f"it belongs to {stored.space}"]
    return belongs + [str(difference) for difference in differences(contract.spec, stored.spec)]


def bad_vectors(vectors: NDArray[np.float32], spec: EncoderSpec) -> NDArray[np.bool_]:
    """(n,) True for each of the (n, dim) vectors that must not be published.

    NaN, infinite, zero, or of a norm other than 1 where the spec says unit.
    """
    found = norms(vectors)
    bad: NDArray[np.bool_] = ~np.isfinite(found) | (found == 0)
    if spec.normalised:
        bad |= np.abs(found - 1) > NORM_TOLERANCE
    return bad


def _type(schema: pa.Schema, name: str) -> str:
    index = schema.get_field_index(name)
    return "nothing" if index < 0 else str(schema.field(index).type).replace("element", "item")
