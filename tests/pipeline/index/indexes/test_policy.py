"""Which vector index a table gets as it grows, shrinks and ages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.index.indexes.policy import (
    EVERY_PARTITION,
    EXACT_FLOATS,
    MAX_SEGMENTS,
    VectorIndexState,
    max_unindexed_rows,
    next_step,
    partition_count,
    probe_count,
    probe_ladder,
)
from commonspace.pipeline.release.indexes import RECALL_K, VectorIndex

ENOUGH = EXACT_FLOATS // 400
ROWS = st.integers(0, 10_000_000)
DIMS = st.integers(1, 4096)


def of(
    rows: int, *, unindexed: int = 0, segments: int = 1, trained: int | None = None
) -> VectorIndexState:
    return VectorIndexState(rows - unindexed, unindexed, segments, trained or rows)


@pytest.mark.parametrize(
    ("wanted", "rows", "there", "expected"),
    [
        ("auto", 0, None, "none"),
        ("auto", ENOUGH - 1, None, "none"),
        ("auto", ENOUGH, None, "build"),
        ("auto", ENOUGH, of(ENOUGH), "leave"),
        ("auto", ENOUGH - 1, of(ENOUGH), "leave"),  # what has been built stays for a while
        ("auto", ENOUGH // 2 - 1, of(ENOUGH), "drop"),
        ("auto", ENOUGH, of(ENOUGH, unindexed=ENOUGH // 11), "leave"),
        ("auto", ENOUGH, of(ENOUGH, unindexed=ENOUGH // 9), "extend"),
        ("auto", 2 * ENOUGH, of(2 * ENOUGH, trained=ENOUGH), "build"),
        ("auto", 2 * ENOUGH - 1, of(2 * ENOUGH - 1, trained=ENOUGH), "leave"),
        ("auto", ENOUGH, of(ENOUGH, trained=2 * ENOUGH), "build"),
        ("auto", ENOUGH, of(ENOUGH, segments=MAX_SEGMENTS + 1), "build"),
        ("auto", 20 * ENOUGH, of(20 * ENOUGH, unindexed=ENOUGH // 9), "extend"),
        ("ivf_sq", 1, None, "build"),
        ("ivf_sq", 0, None, "none"),
        ("ivf_sq", 0, of(10), "drop"),
        ("none", 20 * ENOUGH, None, "none"),
        ("none", 20 * ENOUGH, of(20 * ENOUGH), "drop"),
    ],
)
def test_steps(wanted: str, rows: int, there: VectorIndexState | None, expected: str) -> None:
    assert next_step(wanted, rows, 400, there) == expected  # type: ignore[arg-type]


@given(rows=ROWS, dim=DIMS)
def test_what_was_just_built_is_left_alone(rows: int, dim: int) -> None:
    todo = next_step("auto", rows, dim, None)
    assert todo == ("build" if rows * dim >= EXACT_FLOATS else "none")
    if todo == "build":
        assert next_step("auto", rows, dim, of(rows)) == "leave"


@given(rows=st.integers(1, 10_000_000), dim=DIMS)
def test_no_search_compares_many_rows_beside_the_index(rows: int, dim: int) -> None:
    assert max_unindexed_rows(rows, dim) * dim <= EXACT_FLOATS / 10 + 1
    assert max_unindexed_rows(rows, dim) < rows


@given(rows=st.integers(1, 100_000_000))
def test_the_ladder_ends_with_every_partition(rows: int) -> None:
    rungs = probe_ladder(partition_count(rows))
    assert rungs[-1] == partition_count(rows)
    assert rungs == sorted(set(rungs))
    assert len(rungs) < 20


@given(rows=st.integers(1, 10_000_000), k=st.integers(1, 100_000), rung=st.integers(0, 20))
def test_more_rows_take_more_probes(rows: int, k: int, rung: int) -> None:
    whole = partition_count(rows)
    nprobes = probe_ladder(whole)[min(rung, len(probe_ladder(whole)) - 1)]
    index = VectorIndex("ivf_sq", rows, whole, nprobes, 2, 1.0, 0.95, 200)
    assert probe_count(index, RECALL_K, filtered=False) == nprobes
    assert probe_count(index, RECALL_K + 1, filtered=False) == nprobes  # an item and its neighbours
    assert nprobes <= probe_count(index, k, filtered=False)
    # Of a table that was trained again since, more than it says of itself.
    assert probe_count(index, k, filtered=True) == EVERY_PARTITION
