"""What an owner asks for as indexes, and what CURRENT says of those that a table has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from commonspace.pipeline.contract.documents import made

RECALL_GATE = "index_recall"
RECALL_K = 10
"""Recall is measured over so many nearest rows."""
MIN_RECALL = 0.95
"""Of the ten nearest rows, half a row is missed: what an approximate search is expected to keep.
docs/index.md says what less and more cost."""

VectorChoice = Literal["auto", "ivf_sq", "none"]


@dataclass(frozen=True)
class IndexSettings:
    """The indexes that an owner asks for; not part of the contract, for they change no row."""

    vector: VectorChoice = "auto"
    """`auto` decides by size; `ivf_sq` has an index whatever the size; `none` has none."""
    text: tuple[str, ...] = ()
    """The columns with a full-text index."""
    min_recall: float = MIN_RECALL
    """Of the RECALL_K nearest rows, the share that a search must find."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> IndexSettings:
        """The settings in a manifest; one from before there were indexes holds none of the keys."""
        return cls(**{**value, "text": tuple(value.get("text", ()))})


@dataclass(frozen=True)
class VectorIndex:
    """How the vector index of one version of the table is searched, and its measured recall."""

    kind: str
    trained_rows: int
    partitions: int
    nprobes: int
    refine: int
    """So many times the wanted rows are compared by their stored vectors, not by the index."""
    recall: float
    limit: float
    """The least recall that the owner accepts."""
    sample: int
    """How many rows were used as queries to measure the recall."""

    @property
    def is_weak(self) -> bool:
        """Whether its recall is below the limit."""
        return self.recall < self.limit

    def with_recall(self, recall: float) -> VectorIndex:
        """The same index with a measured recall."""
        return replace(self, recall=recall)

    def to_gate(self) -> dict[str, Any]:
        """The gate `index_recall`, in the form of the gates in a manifest."""
        message = (
            f"of the {RECALL_K} nearest of {self.sample} rows, {self.recall:.1%} are found, "
            f"probing {self.nprobes} of {self.partitions} partitions "
            f"(min_index_recall is {self.limit:.1%})"
        )
        gate = {"name": RECALL_GATE, "ok": not self.is_weak, "value": self.recall}
        return {**gate, "limit": self.limit, "message": message}


@dataclass(frozen=True)
class Indexes:
    """What CURRENT says of the indexes that its version of the table has."""

    sha256: str
    """Over the files that the indexes consist of."""
    vector: VectorIndex | None
    text: tuple[str, ...]

    @property
    def usable(self) -> VectorIndex | None:
        """The vector index that searches use; None where it is weak, and every row is compared."""
        return None if self.vector is None or self.vector.is_weak else self.vector

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Indexes:
        """The indexes in CURRENT.

        Raises:
            ValueError, TypeError, KeyError: they are damaged.
        """
        vector = value["vector"]
        index = made(VectorIndex, vector) if vector else None
        return cls(value["sha256"], index, tuple(value["text"]))
