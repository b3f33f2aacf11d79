"""Which vector index a table gets, and what is done to it as the table changes: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from commonspace.pipeline.release.indexes import RECALL_K, VectorChoice, VectorIndex

EXACT_FLOATS = 20_000_000
"""What an exact search reads in about a tenth of a second on two cores: 52,000 rows x 384."""
TAIL_FLOATS = EXACT_FLOATS // 10
TAIL_SHARE = 0.1
"""Of the rows, how many may be beside an index: every search compares each of them."""
GROWTH = 2
"""Centroids of half the rows no longer lie where rows are; doubling keeps training rare."""
MAX_SEGMENTS = 16
"""Each extension adds one, and a search probes every one of them."""
PARTITION_ROWS = 512
MIN_PROBES = 8
REFINE = 2
"""8 bits a number misplace rows that are nearly equally near: of twice as many candidates, each is
compared by its own vector. This also makes `similarity` the true cosine."""
EVERY_PARTITION = 2**31 - 1

Step = Literal["none", "drop", "build", "extend", "leave"]
"""What is done with the vector index; `none` where there is none and none is wanted."""


@dataclass(frozen=True)
class VectorIndexState:
    """The vector index that a table has."""

    indexed: int
    """Rows in the index."""
    unindexed: int
    """Rows of the table that are not in it."""
    segments: int
    trained_rows: int
    """How many rows it was trained on."""


def next_step(choice: VectorChoice, rows: int, dim: int, state: VectorIndexState | None) -> Step:
    """What is to be done, so that the index fits a table of so many vectors.

    Args:
        choice: what the owner wants.
        rows: how many rows the table has.
        dim: the width of the vectors.
        state: the index that the table has; None for none.
    """
    # An index stays until the table has halved: near the limit it would come and go.
    min_floats = EXACT_FLOATS // (GROWTH if state else 1)
    if choice == "none" or not rows or (choice == "auto" and rows * dim < min_floats):
        return "drop" if state else "none"
    if state is None or state.segments > MAX_SEGMENTS:
        return "build"
    if not state.trained_rows / GROWTH < rows < state.trained_rows * GROWTH:
        return "build"
    return "extend" if state.unindexed > max_unindexed_rows(rows, dim) else "leave"


def max_unindexed_rows(rows: int, dim: int) -> float:
    """How many rows may be beside the index."""
    return min(rows * TAIL_SHARE, TAIL_FLOATS / dim)


def partition_count(rows: int) -> int:
    """How many partitions an index over so many rows has."""
    return max(rows // PARTITION_ROWS, 1)


def probe_ladder(partitions: int) -> list[int]:
    """How many partitions to probe, from few to all: each number is twice the one before."""
    ladder, probes = [], MIN_PROBES
    while probes < partitions:
        ladder.append(probes)
        probes *= 2
    return [*ladder, partitions]


def probe_count(index: VectorIndex, k: int, *, filtered: bool) -> int:
    """How many partitions a search for k rows probes; LanceDB caps it at what there are.

    Recall is measured for ten rows (and the queried row itself): more rows take as many times
    more probes. Rows that pass a filter can be anywhere. The number of partitions is not used here:
    an interrupted promotion may have trained the index again.
    """
    if filtered:
        return EVERY_PARTITION
    return min(index.nprobes * max(1, -(-(k - 1) // RECALL_K)), EVERY_PARTITION)
