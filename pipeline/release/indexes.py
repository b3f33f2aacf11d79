"""pipeline/release/indexes.py"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

VectorChoice = Literal["auto", "ivf_sq", "none"]

RECALL_GATE = "index_recall"
MIN_RECALL = 0.95
"""Of the ten nearest rows, half a row is missed: what an approximate search is expected to keep.
docs/index.md says what less and more cost."""
RECALL_K = 10


@dataclass(frozen=True)
class IndexSettings:
    """The indices that an owner asks for; no part of the contract, for they change no row.

    vector: `auto` decides by size, `ivf_sq` has one whatever the size, `none` has none.
    text: the columns with a full-text index.
    min_recall: of the ten nearest rows, the share that a search must find.
    """

    vector: VectorChoice = "auto"
    text: tuple[str, ...] = ()
    min_recall: float = MIN_RECALL

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> IndexSettings:
        """Of a manifest; one from before there were indices says nothing."""
        return cls(**{**value, "text": tuple(value.get("text", ()))})


@dataclass(frozen=True)
class VectorIndex:
    """How the vector index of a version of the table is searched, and what that finds."""

    kind: str
    trained_rows: int
    partitions: int
    nprobes: int
    refine: int
    """Times as many rows as are asked for are compared by their own vectors."""
    recall: float
    limit: float
    sample: int
    """How many rows were asked for their nearest ones."""

    @property
    def is_weak(self) -> bool:
        """Whether it finds less than its owner wants."""
        return self.recall < self.limit

    def finding(self, recall: float) -> VectorIndex:
        """The same with what it was measured to find."""
        return replace(self, recall=recall)

    def to_gate(self) -> dict[str, Any]:
        """As the gate `index_recall`, beside those of the manifest."""
        said = (
            f"of the {RECALL_K} nearest of {self.sample} rows, {self.recall:.1%} are found, "
            f"probing {self.nprobes} of {self.partitions} partitions "
            f"(min_index_recall is {self.limit:.1%})"
        )
        gate = {"name": RECALL_GATE, "ok": not self.is_weak, "value": self.recall}
        return {**gate, "limit": self.limit, "message": said}


@dataclass(frozen=True)
class Indexes:
    """What `CURRENT` says of the indices that its version of the table has."""

    sha256: str
    """Over the files they consist of."""
    vector: VectorIndex | None
    text: tuple[str, ...]

    @property
    def searched(self) -> VectorIndex | None:
        """The vector index that searches use; one that finds too little is passed by."""
        return None if self.vector is None or self.vector.is_weak else self.vector

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Indexes:
        """Raises TypeError or KeyError for what `asdict` has not made."""
        vector = value["vector"]
        return cls(value["sha256"], VectorIndex(**vector) if vector else None, tuple(value["text"]))
