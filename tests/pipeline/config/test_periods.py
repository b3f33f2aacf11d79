"""Partitions by time: their keys, when they end, and which schedules make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.config.periods import CADENCES
from commonspace.pipeline.errors import UserMistake
from tests.support.collection_file import write_collection


def load(folder: Path, uri: str = "events/{partition}.jsonl", **keys: Any) -> Collection:
    path = write_collection(folder, name="events", source={"uri": uri}, collection=keys)
    return load_collection(path)


@pytest.mark.parametrize(
    ("period", "key", "begins", "ends"),
    [
        ("hour", "2026-12-31T23", (2026, 12, 31, 23), (2027, 1, 1)),
        ("day", "2026-02-28", (2026, 2, 28), (2026, 3, 1)),
        ("day", "2028-02-28", (2028, 2, 28), (2028, 2, 29)),
        ("month", "2026-12", (2026, 12, 1), (2027, 1, 1)),
        ("month", "2026-02", (2026, 2, 1), (2026, 3, 1)),
    ],
)
def test_a_key_names_a_stretch_of_time(
    period: str, key: str, begins: tuple[int, ...], ends: tuple[int, ...]
) -> None:
    cadence = CADENCES[period]
    assert cadence.partition_start(key) == datetime(*begins, tzinfo=UTC)  # type: ignore[misc]
    assert cadence.partition_end(key) == datetime(*ends, tzinfo=UTC)  # type: ignore[misc]


@given(
    st.sampled_from(sorted(CADENCES)),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda m: m.replace(tzinfo=UTC)),
)
def test_every_moment_is_in_exactly_one_partition(period: str, moment: datetime) -> None:
    cadence = CADENCES[period]
    key = cadence.partition_at(moment)
    end = cadence.partition_end(key)
    assert cadence.partition_start(key) <= moment < end
    assert cadence.partition_start(cadence.partition_at(end)) == end


@pytest.mark.parametrize(
    "key", ["", "2026-1-5", "2026-02-30", "2026-11", "*", "2026-11-20/../x", "2026-11-20 "]
)
def test_other_keys_name_nothing(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        CADENCES["day"].partition_start(key)


@pytest.mark.parametrize(
    ("period", "schedule"),
    [("day", "@daily"), ("day", "0 0 * * *"), ("hour", "@hourly"), ("month", "0 0 1 * *")],
)
def test_a_schedule_that_ticks_when_partitions_end(
    tmp_path: Path, period: str, schedule: str
) -> None:
    found = load(tmp_path, partitions=period, schedule=schedule, late_by="90m")
    assert found.collection.partitions == period
    assert found.collection.late_by == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("keys", "uri", "said"),
    [
        ({"partitions": "day"}, "events/{partition}.jsonl", 'needs `schedule = "@daily"`'),
        # Backfills of such a one drop the last day and repeat one that was run by hand.
        ({"partitions": "day", "schedule": "0 2 * * *"}, "events/{partition}.jsonl", "late_by"),
        ({"partitions": "day", "schedule": "@hourly"}, "events/{partition}.jsonl", "@daily"),
        ({"partitions": "week", "schedule": "@weekly"}, "events/{partition}.jsonl", "'day'"),
        (
            {"partitions": "day", "schedule": "@daily"},
            "events.jsonl",
            "`{partition}` in the source",
        ),
        ({"late_by": "2h"}, "events/{partition}.jsonl", "needs `partitions`"),
        ({"schedule": "@daily", "schedule_on": ["x"]}, "a/{partition}.jsonl", "cannot both be set"),
        ({"late_by": "soon"}, "events/{partition}.jsonl", 'such as "90m"'),
        ({"late_by": 2}, "events/{partition}.jsonl", "late_by"),
        ({"approve_within": "2d"}, "events.jsonl", 'needs `promote = "manual"`'),
        ({"promote": "manual", "approve_within": "7d"}, "events.jsonl", "is at most 6d"),
        ({"promote": "manual", "approve_within": "0m"}, "events.jsonl", "longer than nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, keys: dict[str, Any], uri: str, said: str
) -> None:
    with pytest.raises(UserMistake) as refused:
        load(tmp_path, uri, **keys)
    assert said in str(refused.value)
