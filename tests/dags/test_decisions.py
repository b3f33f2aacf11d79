"""The pure decisions of the DAGs: what a run takes, how work is dealt, what is too old."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from commonspace_airflow.freshness import stale_spaces
from commonspace_airflow.scope import (
    MOST_ENCODE_TASKS,
    parse_request,
    resolve_partition,
    shards_per_task,
)
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.errors import UserMistake
from tests.support.collection_file import write_collection

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAILY = {"schedule": "@daily", "partitions": "day"}


def load(folder: Path, **keys: str) -> Collection:
    source = {"uri": "events/{partition}.jsonl"}
    return load_collection(write_collection(folder, name="events", source=source, collection=keys))


@pytest.mark.parametrize(
    ("param", "key", "start", "taken"),
    [
        ("2026-11-01", None, NOON, "2026-11-01"),
        ("2026-11-01", "2026-11-01", None, "2026-11-01"),
        (None, "2026-11-02", NOON, "2026-11-02"),
        (None, None, NOON, "2026-11-20"),
    ],
)
def test_the_first_that_says_which_partition_counts(
    tmp_path: Path, param: str | None, key: str | None, start: datetime | None, taken: str
) -> None:
    assert resolve_partition(load(tmp_path, **DAILY), param, key, start) == taken


def test_a_collection_without_a_period_takes_everything_unless_told(tmp_path: Path) -> None:
    collection = load(tmp_path)
    assert resolve_partition(collection, None, None, NOON) is None
    assert resolve_partition(collection, "paintings", None, NOON) == "paintings"
    assert resolve_partition(collection, None, "paintings", None) == "paintings"


@pytest.mark.parametrize(
    ("param", "key", "said"),
    [
        (None, None, "processes one day, and nothing says which"),
        ("yesterday", None, "'yesterday' names no day"),
        ("2026-02-30", None, "names no day"),
        (None, "2026-11-20T00:00:00", "names no day"),
        ("2026-11-01", "2026-11-02", "but its params ask for"),
    ],
)
def test_a_partition_that_cannot_be_meant(
    tmp_path: Path, param: str | None, key: str | None, said: str
) -> None:
    with pytest.raises(UserMistake, match=said):
        resolve_partition(load(tmp_path, **DAILY), param, key, None)


@pytest.mark.parametrize(
    "params",
    [
        {"partition": "2026-11-01", "ids": ["a"]},
        {"partition": "2026-11-01", "only_rejects": True},
        {"ids": ["a"], "only_rejects": True},
    ],
)
def test_params_that_exclude_each_other(tmp_path: Path, params: dict[str, Any]) -> None:
    with pytest.raises(UserMistake, match="exclude each other"):
        parse_request(load(tmp_path), params, None, None)


def test_ids_and_rejects_need_no_partition(tmp_path: Path) -> None:
    collection = load(tmp_path, **DAILY)
    assert parse_request(collection, {"ids": ["a", "b"]}, None, NOON).ids == ("a", "b")
    rejects = parse_request(collection, {"only_rejects": True, "dry_run": True}, None, NOON)
    assert (rejects.partition, rejects.only_rejects, rejects.dry_run) == (None, True, True)
    with pytest.raises(UserMistake, match="exclude each other"):  # a backfill's conf
        parse_request(collection, {"ids": ["a"]}, "2026-11-01", None)


@pytest.mark.parametrize(
    ("params", "force", "dry_run"),
    [
        ({}, False, False),
        ({"dry_run": True}, False, True),
        ({"force": "plan"}, True, True),
        ({"force": "encode"}, True, False),
        ({"force": "encode", "dry_run": True}, True, True),
    ],
)
def test_what_is_forced_is_a_dry_run_until_somebody_says_encode(
    tmp_path: Path, params: dict[str, Any], force: bool, dry_run: bool
) -> None:
    taken = parse_request(load(tmp_path), {"force": None, "dry_run": False, **params}, None, None)
    assert (taken.force, taken.dry_run) == (force, dry_run)


@pytest.mark.parametrize(("param", "deletes"), [(None, False), (False, False), (True, True)])
def test_what_is_missing_is_deleted_where_a_person_says_so(
    tmp_path: Path, param: bool | None, deletes: bool
) -> None:
    taken = parse_request(load(tmp_path), {"delete_missing": param}, None, None)
    assert taken.delete_missing == deletes
    assert not parse_request(load(tmp_path), {}, None, None).delete_missing


def test_spaces_that_a_run_takes(tmp_path: Path) -> None:
    collection = load(tmp_path)
    assert parse_request(collection, {"spaces": []}, None, None).includes("text/v1")
    assert not parse_request(collection, {"spaces": ["title/v2"]}, None, None).includes("text/v1")


@given(st.integers(0, 5_000), st.none() | st.floats(0, 1e7))
def test_every_shard_is_dealt_once(shards: int, seconds: float | None) -> None:
    tasks = [range(*task) for task in shards_per_task(shards, seconds)]
    assert [n for task in tasks for n in task] == list(range(shards))
    assert all(tasks)
    assert not tasks or max(map(len, tasks)) - min(map(len, tasks)) <= 1
    assert len(tasks) <= MOST_ENCODE_TASKS
    if seconds is not None and shards:
        assert len(tasks) <= seconds / 600 + 1, "a task is minutes of work"


@pytest.mark.parametrize("seconds", [None, 1e9])
def test_how_the_shards_are_dealt_is_a_small_xcom(seconds: float | None) -> None:
    for shards in (25, 25_000, 1_000_000):
        assert len(json.dumps(shards_per_task(shards, seconds))) < 10_000


def test_what_is_older_than_its_owner_allows(tmp_path: Path) -> None:
    collection = load(tmp_path, fresh_within="36h")
    entry = {"space": "events/text/v1", "promoted_at": "2026-11-19T12:00:00+00:00"}
    assert stale_spaces([collection], [entry], NOON) == []
    entry["promoted_at"] = "2026-11-18T12:00:00+00:00"
    (reported,) = stale_spaces([collection], [entry], NOON)
    assert reported == "events/text/v1 was last up to date 48 h ago, more than 36 h"
    unchanged = {**entry, "confirmed_at": "2026-11-20T02:00:00+00:00"}
    assert stale_spaces([collection], [unchanged], NOON) == []
    assert stale_spaces([collection], [], NOON) == ["events/text/v1 was never promoted"]
    assert stale_spaces([collection], [{**entry, "retired": "since …"}], NOON) == []
    assert stale_spaces([load(tmp_path)], [entry], NOON) == []
