"""The contract of a space: its name, its spec, its columns; checked on every write and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import NORM_TOLERANCE, norms
from commonspace.pipeline.contract.columns import (
    COLUMN_TYPES,
    passage_fields,
    provenance_fields,
    vector_type,
)
from commonspace.pipeline.contract.documents import read_document
from commonspace.pipeline.contract.layout import spec_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.storage.store import Store

METADATA_KEY = b"commonspace"
"""The key of the contract in the metadata of a file's or a table's schema."""
LARGEST_DIM = 2**31 - 1
"""The longest list of Arrow's type for vectors."""


@dataclass(frozen=True)
class Contract:
    """The agreement stored with a space, in its files and in its table."""

    space: str
    fingerprint: str
    spec: EncoderSpec
    metadata: Mapping[str, str]
    """Metadata columns by declared type: in `spec.json` those of the first release."""
    recipe: Recipe | None = None
    """What of a record the encoder sees; None where that was not recorded yet."""

    @classmethod
    def of(
        cls,
        name: SpaceName,
        spec: EncoderSpec,
        metadata: Mapping[str, str],
        recipe: Recipe | None = None,
    ) -> Contract:
        # One order of columns, whatever the file's: what is stored has its keys sorted.
        return cls(str(name), spec.fingerprint, spec, dict(sorted(metadata.items())), recipe)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Contract:
        """The contract that `to_bytes` or a schema's metadata holds.

        Raises:
            ValueError or another error of `documents.DAMAGE`: it is damaged.
        """
        canonical = json.dumps(
            value["spec"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        if hashlib.sha256(canonical.encode()).hexdigest() != value["fingerprint"]:
            raise ValueError("its fingerprint is not that of its spec")
        if not set(value["metadata"].values()) <= COLUMN_TYPES.keys():
            raise ValueError("a metadata column has no known type")
        spec = EncoderSpec.from_json(value["spec"])
        if not 0 < spec.dim <= LARGEST_DIM:
            raise ValueError(f"no vector has {spec.dim} dimensions")
        recipe = Recipe.from_json(value["recipe"]) if "recipe" in value else None
        return cls(value["space"], value["fingerprint"], spec, value["metadata"], recipe)

    def to_json(self) -> dict[str, Any]:
        """Everything but the recipe, which is of a space and in none of its files."""
        values = asdict(self)
        del values["recipe"]
        return values

    def to_bytes(self) -> bytes:
        """The contract as it is stored with the space."""
        recipe = {"recipe": self.recipe.to_json()} if self.recipe else {}
        return (json.dumps({**self.to_json(), **recipe}, sort_keys=True, indent=1) + "\n").encode()

    def with_columns(self, metadata: Mapping[str, str]) -> Contract:
        """The same with other metadata columns: those of another release."""
        return replace(self, metadata=metadata)

    @cached_property
    def optional_columns(self) -> frozenset[str]:
        """The columns that a file or table of an earlier time may lack.

        An owner may add a metadata column to a space, and commonspace one that says how rows were
        made. All others are in every file.
        """
        return frozenset([*self.metadata, *(field.name for field in provenance_fields(self.spec))])

    @property
    def item_column(self) -> str:
        """The column that names a row's item: its `id`, unless rows are passages."""
        return "item" if passage_fields(self.spec) else "id"

    @property
    def item_columns(self) -> list[str]:
        """The columns that come from the item and a passage's place in it, not from the content."""
        passage = [field.name for field in passage_fields(self.spec)]
        return ["id", "partition", "source_uri", "row_digest", *passage, *self.metadata]

    @cached_property
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
            metadata={METADATA_KEY: json.dumps(self.to_json(), sort_keys=True)},
        )


def load_contract(store: Store, name: SpaceName) -> Contract | None:
    """The contract that a space was first published under, or None where it never was.

    Raises:
        ContractBroken: the stored contract is damaged.
    """
    data = store.read(spec_key(name))
    if data is None:
        return None

    def parse(document: Any) -> Contract:
        contract = Contract.from_json(document)
        if contract.space != str(name):
            raise ValueError(f"it is the contract of {contract.space}")
        return contract

    return read_document(data, spec_key(name), parse, do="Restore the file from a copy.")


def bad_vectors(vectors: NDArray[np.float32], spec: EncoderSpec) -> NDArray[np.bool_]:
    """Which of the (n, dim) vectors must not be published, as an (n,) mask.

    Those that are NaN, infinite or zero; where the spec says normalised, those whose norm is not 1.
    """
    lengths = norms(vectors)
    bad: NDArray[np.bool_] = ~np.isfinite(lengths) | (lengths == 0)
    if spec.normalised:
        bad |= np.abs(lengths - 1) > NORM_TOLERANCE
    return bad
