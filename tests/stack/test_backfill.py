"""A partitioned collection: its schedule; native backfills in any order, in parallel, twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stack.client import Stack, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3000)]

COLLECTION = """
[collection]
name = "events"
owner = "data-team"
schedule = "@daily"
partitions = "day"
[source]
kind = "jsonl"
uri = "events/{partition}.jsonl"
id = "id"
[[space]]
name = "text"
encoder = "hashed/64"
fields = ["text"]
[run]
shard_rows = 64
queue = "gpu"
pool = "gpu"
"""
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
DAYS = [str(YESTERDAY - timedelta(days=back)) for back in range(9, 2, -1)]


def write_day(folder: Path, day: str, texts: dict[str, str]) -> None:
    rows = [{"id": f"{day}-{name}", "text": text} for name, text in texts.items()]
    (folder / f"{day}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def texts_of(day: str) -> dict[str, str]:
    return {str(n): f"what happened on {day}, number {n}" for n in range(30)}


@pytest.fixture(scope="module")
def collections(celery_collections: Path) -> Path:
    (celery_collections / "events").mkdir()
    for day in (*DAYS, str(YESTERDAY)):
        write_day(celery_collections / "events", day, texts_of(day))
    (celery_collections / "events.toml").write_text(COLLECTION)
    return celery_collections


@pytest.fixture(scope="module")
def stack(collections: Path, request: pytest.FixtureRequest) -> Stack:
    started: Stack = request.getfixturevalue("celery_stack")  # after the files, if it is the first
    return started


def backfill(stack: Stack, first: str, last: str, *options: str) -> None:
    """Starts one, when Airflow has marked the one before as done: there is one at a time."""

    def done() -> bool:
        found = stack.call("GET", "backfills", dag_id="events")["backfills"]
        return all(one["completed_at"] for one in found)

    until(done, 120, "the backfill before is done")
    words = ("--from-date", first, "--to-date", last, "--max-active-runs", "3", *options)
    stack.airflow("backfill", "create", "--dag-id", "events", *words)


def without(runs: list[dict[str, Any]], known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = {run["dag_run_id"] for run in known}
    return [run for run in runs if run["dag_run_id"] not in ids]


def most_at_once(runs: list[dict[str, Any]]) -> int:
    moments = [(run["start_date"], 1) for run in runs] + [(run["end_date"], -1) for run in runs]
    active = [0]
    for _, change in sorted(moments):
        active.append(active[-1] + change)
    return max(active)


ROWS = """
import json, commonspace
table = commonspace.open("events/text").to_arrow().drop(["encoded_at", "run"]).sort_by("id")
print(json.dumps({"ids": table["id"].to_pylist(), "rows": [str(row) for row in table.to_pylist()]}))
"""
PROMOTED = """
import json, commonspace
releases = commonspace.open("events/text").releases()
print(json.dumps([r.number for r in releases if r.promoted_at]))
"""


def test_it_runs_by_schedule_and_by_backfills(stack: Stack, collections: Path, place: Path) -> None:
    stack.switch_on("events")  # takes the last day that has ended, by itself
    (scheduled,) = stack.wait_for_all("events", 1)
    assert scheduled["run_type"] == "scheduled"
    assert scheduled["partition_key"] == str(YESTERDAY)
    assert scheduled["state"] == "success"

    where = {task["task_id"]: task for task in stack.tasks("events", scheduled["dag_run_id"])}
    encoded, pulled = where["text-v1.encode"], where["pull"]
    assert (encoded["queue"], encoded["pool"]) == ("gpu", "gpu")
    assert encoded["id"] in stack.log_of("worker-gpu")
    assert encoded["id"] not in stack.log_of("worker-default")
    assert pulled["id"] in stack.log_of("worker-default")

    backfill(stack, DAYS[0], DAYS[-1], "--run-backwards")
    first = without(stack.wait_for_all("events", 1 + len(DAYS)), [scheduled])
    assert {run["state"] for run in first} == {"success"}
    assert {run["partition_key"] for run in first} == set(DAYS)
    assert 2 <= most_at_once(first) <= 3
    events = stack.events_of("events")
    assert sorted(event["partition_key"] for event in events) == sorted([*DAYS, str(YESTERDAY)])

    late = texts_of(DAYS[2])  # one gone, one corrected, one late
    del late["0"]
    write_day(collections / "events", DAYS[2], {**late, "1": "corrected", "late": "came late"})
    backfill(stack, DAYS[0], DAYS[-1], "--reprocess-behavior", "completed")
    again = without(stack.wait_for_all("events", 1 + 2 * len(DAYS)), [scheduled, *first])
    assert {run["state"] for run in again} == {"success"}
    assert {run["partition_key"] for run in again} == set(DAYS)
    assert 2 <= most_at_once(again) <= 3

    news = [event for event in stack.events_of("events") if event not in events]
    assert [event["partition_key"] for event in news] == [DAYS[2]], "nothing else has changed"
    told = [event["extra"]["release"] for event in stack.events_of("events")]
    assert len(told) == len(set(told)) == 1 + len(DAYS) + 1
    assert sorted(told) == sorted(json.loads(stack.python("-c", PROMOTED)))

    stack.python("-m", "pipeline", "verify", "events/text")
    found = json.loads(stack.python("-c", ROWS))
    elsewhere = {"COMMONSPACE_WAREHOUSE": str(place / "single")}
    stack.python("-m", "pipeline", "run", "events", **elsewhere)
    assert found == json.loads(stack.python("-c", ROWS, **elsewhere))
    assert len(found["ids"]) == 30 * (1 + len(DAYS))
