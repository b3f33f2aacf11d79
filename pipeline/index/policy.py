"""Which vector index a table gets, and what becomes of it as the table changes. Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from commonspace.pipeline.release.indexes import RECALL_K, VectorChoice, VectorIndex

Step = Literal["none", "drop", "build", "extend", "leave"]
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
EVERY_PARTITION = 2**31 - 1


@dataclass(frozen=True)
class VectorIndexState:
    """The vector index that a table has: rows in it, rows beside it, and its age."""

    indexed: int
    unindexed: int
    segments: int
    trained_rows: int


def next_step(wanted: VectorChoice, rows: int, dim: int, there: VectorIndexState | None) -> Step:
    """What is to be done, so that the index fits a table of so many vectors."""
    # Once there, an index stays until the table has halved: near the limit nothing flaps.
    enough = EXACT_FLOATS // (GROWTH if there else 1)
    if wanted == "none" or not rows or (wanted == "auto" and rows * dim < enough):
        return "drop" if there else "none"
    if there is None or there.segments > MOST_SEGMENTS:
        return "build"
    if not there.trained_rows / GROWTH < rows < there.trained_rows * GROWTH:
        return "build"
    return "extend" if there.unindexed > max_unindexed_rows(rows, dim) else "leave"


def max_unindexed_rows(rows: int, dim: int) -> float:
    """How many rows may be beside the index: every search compares each of them."""
    return min(rows * TAIL_SHARE, TAIL_FLOATS / dim)


def partition_count(rows: int) -> int:
    """How many partitions an index over so many rows has."""
    return max(rows // ROWS_IN_PARTITION, 1)


def probe_ladder(partitions: int) -> list[int]:
    """How many partitions to probe: doubled until every one is."""
    rungs, rung = [], FEWEST_PROBES
    while rung < partitions:
        rungs.append(rung)
        rung *= 2
    return [*rungs, partitions]


def probe_count(index: VectorIndex, k: int, *, filtered: bool) -> int:
    """How many partitions a search for k rows probes; LanceDB takes what there is of more.

    Recall is measured for ten rows (and the row that was asked for): more rows take as many
    times more. Rows that a filter keeps can be anywhere. How many partitions there are is not
    asked: a promotion that was interrupted may have trained the index again.
    """
    if filtered:
        return EVERY_PARTITION
    return min(index.nprobes * max(1, -(-(k - 1) // RECALL_K)), EVERY_PARTITION)
