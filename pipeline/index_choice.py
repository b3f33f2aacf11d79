"""Which vector index a table gets, and what becomes of it as the table changes. Pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

VectorChoice = Literal["auto", "ivf_sq", "none"]
Step = Literal["none", "drop", "build", "extend", "leave"]

GATE = "index_recall"
MIN_RECALL = 0.95
"""Of the ten nearest rows, half a row is missed: what an approximate search is expected to keep.
docs/index.md says what less and more cost."""
EXACT_FLOATS = 20_000_000
"""What an exact search reads in about a tenth of a second on two cores: 52,000 rows x 384."""
TAIL_FLOATS = EXACT_FLOATS // 10
TAIL_SHARE = 0.1
GROWTH = 2
"""Centroids of half the rows no longer stand where rows are; doubling keeps training rare."""
MOST_SEGMENTS = 16
"""Each extension adds one, and a search probes every one of them."""
ROWS_IN_PARTITION = 512
FEWEST_PROBES = 8
REFINE = 2
"""8 bits a number misplace rows that are nearly equally near: of twice as many candidates, each is
compared by its own vector. This also makes `similarity` the true cosine."""
MEASURED_K = 10
EVERY_PARTITION = 2**31 - 1


@dataclass(frozen=True)
class Wanted:
    """The indices that an owner asks for; no part of the contract, for they change no row.

    vector: `auto` decides by size, `ivf_sq` has one whatever the size, `none` has none.
    text: the columns with a full-text index.
    min_recall: of the ten nearest rows, the share that a search must find.
    """

    vector: VectorChoice = "auto"
    text: tuple[str, ...] = ()
    min_recall: float = MIN_RECALL

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Wanted:
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
            f"of the {MEASURED_K} nearest of {self.sample} rows, {self.recall:.1%} are found, "
            f"probing {self.nprobes} of {self.partitions} partitions "
            f"(min_index_recall is {self.limit:.1%})"
        )
        gate = {"name": GATE, "ok": not self.is_weak, "value": self.recall}
        return {**gate, "limit": self.limit, "message": said}


@dataclass(frozen=True)
class Indices:
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
    def from_json(cls, value: Mapping[str, Any]) -> Indices:
        """Raises TypeError or KeyError for what `asdict` has not made."""
        vector = value["vector"]
        return cls(value["sha256"], VectorIndex(**vector) if vector else None, tuple(value["text"]))


@dataclass(frozen=True)
class There:
    """The vector index that a table has: rows in it, rows beside it, and its age."""

    indexed: int
    unindexed: int
    segments: int
    trained_rows: int


def step(wanted: VectorChoice, rows: int, dim: int, there: There | None) -> Step:
    """What is to be done, so that the index fits a table of so many vectors."""
    # Once there, an index stays until the table has halved: near the limit nothing flaps.
    enough = EXACT_FLOATS // (GROWTH if there else 1)
    if wanted == "none" or not rows or (wanted == "auto" and rows * dim < enough):
        return "drop" if there else "none"
    if there is None or there.segments > MOST_SEGMENTS:
        return "build"
    if not there.trained_rows / GROWTH < rows < there.trained_rows * GROWTH:
        return "build"
    return "extend" if there.unindexed > tail(rows, dim) else "leave"


def tail(rows: int, dim: int) -> float:
    """How many rows may be beside the index: every search compares each of them."""
    return min(rows * TAIL_SHARE, TAIL_FLOATS / dim)


def partitions(rows: int) -> int:
    """How many partitions an index over so many rows has."""
    return max(rows // ROWS_IN_PARTITION, 1)


def ladder(partitions: int) -> list[int]:
    """How many partitions to probe: doubled until every one is."""
    rungs, rung = [], FEWEST_PROBES
    while rung < partitions:
        rungs.append(rung)
        rung *= 2
    return [*rungs, partitions]


def probes(index: VectorIndex, k: int, *, filtered: bool) -> int:
    """How many partitions a search for k rows probes; LanceDB takes what there is of more.

    Recall is measured for ten rows (and the row that was asked for): more rows take as many
    times more. Rows that a filter keeps can be anywhere. How many partitions there are is not
    asked: a promotion that was interrupted may have trained the index again.
    """
    if filtered:
        return EVERY_PARTITION
    return min(index.nprobes * max(1, -(-(k - 1) // MEASURED_K)), EVERY_PARTITION)
