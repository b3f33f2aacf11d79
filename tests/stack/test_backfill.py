"""A partitioned collection: its schedule; native backfills in any order, in parallel, twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stack.running import Stack, running, until

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
"""
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
DAYS = [str(YESTERDAY - timedelta(days=back)) for back in range(9, 2, -1)]


def write_day(folder: Path, day: str, texts: dict[str, str]) -> None:
    rows = [{"id": f"{day}-{name}", "text": text} for name, text in texts.items()]
    (folder / f"{day}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def texts_of(day: str) -> dict[str, str]:
    return {str(n): f"what happened on {day}, number {n}" for n in range(30)}


@pytest.fixture(scope="module")
def collections(place: Path) -> Path:
    folder = place / "collections"
    (folder / "events").mkdir(parents=True)
    (folder / "events.toml").write_text(COLLECTION)
    for day in (*DAYS, str(YESTERDAY)):
        write_day(folder / "events", day, texts_of(day))
    return folder


@pytest.fixture(scope="module")
def stack(place: Path, collections: Path) -> Iterator[Stack]:
    with running(place / "stack", collections, "--warehouse", "bucket") as started:
        yield started


def backfill(stack: Stack, first: str, last: str, *options: str) -> None:
    """Starts one, when Airflow has marked the one before as done: there is one at a time."""

    def done() -> bool:
        found = stack.call("GET", "backfills", dag_id="events")["backfills"]
        return all(one["completed_at"] for one in found)

    until(done, 300, "the backfill before is done")
    words = ("--from-date", first, "--to-date", last, "--max-active-runs", "3", *options)
    stack.airflow("backfill", "create", "--dag-id", "events", *words)


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

    backfill(stack, DAYS[0], DAYS[-1], "--run-backwards")
    runs = stack.wait_for_all("events", 1 + len(DAYS))
    assert {run["partition_key"] for run in runs} == {*DAYS, str(YESTERDAY)}
    assert {run["state"] for run in runs} == {"success"}
    events = stack.events_of("events")
    assert sorted(event["partition_key"] for event in events) == sorted([*DAYS, str(YESTERDAY)])

    late = texts_of(DAYS[2])  # one gone, one corrected, one late
    del late["0"]
    write_day(collections / "events", DAYS[2], {**late, "1": "corrected", "late": "came late"})
    backfill(stack, DAYS[0], DAYS[-1], "--reprocess-behavior", "completed")
    again = stack.wait_for_all("events", 1 + len(DAYS))
    assert {run["state"] for run in again} == {"success"}
    assert 2 <= most_at_once([run for run in again if run["run_type"] == "backfill"]) <= 3

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
