"""Which record of an id is taken, against a model that sees all of them at once."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.pull.versions import Outcome, Rank, Versions, rank_of

Record = tuple[str, int | None]
"""id and value of the column that decides."""
partitions = st.dictionaries(
    st.sampled_from(["", "2026-11-18", "2026-11-19", "b", "é"]),
    st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 3)), max_size=8),
    max_size=4,
).map(lambda found: dict(sorted(found.items())))


def outcomes(days: dict[str, list[Record]], newest: str | None) -> list[tuple[Any, ...]]:
    """What becomes of each record: id, rank, partition, outcome."""
    versions = Versions(newest)
    return [
        (item, rank_of(at if newest else None, day), day, versions.add(item, day, {"at": at}))
        for day, records in days.items()
        for item, at in records
    ]


@given(days=partitions, is_named=st.booleans())
def test_the_greatest_rank_wins_and_the_first_of_equals(
    days: dict[str, list[Record]], is_named: bool
) -> None:
    found = outcomes(days, "at" if is_named else None)
    for _, group in groupby(sorted(found, key=lambda row: row[0]), key=lambda row: row[0]):
        best: dict[str, Rank] = {}
        for _, rank, day, outcome in group:
            within, overall = best.get(day), max(best.values(), default=None)
            if within is not None and rank <= within:
                assert outcome is (Outcome.DUPLICATE if rank == within else Outcome.OLDER)
                continue
            best[day] = rank
            if overall is None:
                assert outcome is Outcome.FIRST
            else:
                assert outcome is (Outcome.NEWER if rank > overall else Outcome.OLDER)


@given(days=partitions, is_named=st.booleans())
def test_a_partition_has_the_same_duplicates_alone_and_among_others(
    days: dict[str, list[Record]], is_named: bool
) -> None:
    def duplicates(some: dict[str, list[Record]]) -> list[tuple[Any, ...]]:
        found = outcomes(some, "at" if is_named else None)
        return [row for row in found if row[3] is Outcome.DUPLICATE]

    alone = [row for day, records in days.items() for row in duplicates({day: records})]
    assert duplicates(days) == alone


def test_nulls_and_what_is_no_number_are_the_oldest() -> None:
    assert rank_of(None, "z") == rank_of(float("nan"), "z") < rank_of(-1e300, None)
    assert rank_of(1, "b") > rank_of(1, "a") > rank_of(1, None)
