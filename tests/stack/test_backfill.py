"""A partitioned collection: its schedule; backfills in any order, at once, again; a follower."""

from __future__ import annotations

import json
import logging
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stack.client import Stack, until
from tests.support.collection_file import jsonl, write_collection

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3000)]

WHEN = {"events": {"schedule": "@daily"}, "follower": {"schedule_on": ["events/text/v1"]}}
TODAY = datetime.now(UTC).date()
DAYS = [str(TODAY - timedelta(days=back)) for back in range(10, 3, -1)]
SCHEDULED = [str(TODAY - timedelta(days=1)), str(TODAY)]
"""What the schedule takes: the second one if midnight passes, which it must not between two
questions of the test, nor while the follower is on."""


def write_collections(folder: Path) -> None:
    (folder / "events").mkdir()
    for day in (*DAYS, *SCHEDULED):
        write_day(folder, day, texts_of(day))
    for name, when in WHEN.items():
        write_collection(
            folder, name=name, collection={**when, "partitions": "day"},
            source={"uri": "events/{partition}.jsonl"},
            run={"shard_rows": 64, "queue": "gpu", "pool": "gpu"},
        )  # fmt: skip


def write_day(folder: Path, day: str, texts: dict[str, str]) -> None:
    rows = [{"id": f"{day}-{name}", "text": text} for name, text in texts.items()]
    (folder / f"events/{day}.jsonl").write_bytes(jsonl(rows))


def texts_of(day: str) -> dict[str, str]:
    return {str(n): f"what happened on {day}, number {n}" for n in range(30)}


def backfilled(stack: Stack, *options: str) -> list[dict[str, Any]]:
    """The runs of a native backfill of the week; Airflow allows one at a time."""
    known = stack.runs("events", "backfill")

    def done() -> bool:
        found = stack.call("GET", "backfills", dag_id="events")["backfills"]
        return all(one["completed_at"] for one in found)

    until(done, 120, "the backfill before is done")
    words = ("--from-date", DAYS[0], "--to-date", DAYS[-1], "--max-active-runs", "3", *options)
    stack.airflow("backfill", "create", "--dag-id", "events", *words)
    return ended(stack, "backfill", known)


def ended(stack: Stack, kind: str, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One run for each day of the week, two or three at once, all well."""
    before = {run["dag_run_id"] for run in known}
    runs = stack.wait_for_all("events", kind, len(before) + len(DAYS))
    new = [run for run in runs if run["dag_run_id"] not in before]
    assert {run["state"] for run in new} == {"success"}
    assert sorted(run["partition_key"] for run in new) == DAYS
    assert 2 <= most_at_once(new) <= 3
    return new


def most_at_once(runs: list[dict[str, Any]]) -> int:
    moments = [(run["start_date"], 1) for run in runs] + [(run["end_date"], -1) for run in runs]
    active = [0]
    for _, change in sorted(moments):
        active.append(active[-1] + change)
    return max(active)


ROWS = """
import json, sys, commonspace
table = commonspace.open(sys.argv[1]).to_arrow().drop(["encoded_at", "run"]).sort_by("id")
print(json.dumps({"ids": table["id"].to_pylist(), "rows": [str(row) for row in table.to_pylist()]}))
"""
PROMOTED = """
import json, commonspace
releases = commonspace.open("events/text").releases()
print(json.dumps([r.number for r in releases if r.promoted_at]))
"""


def test_a_week_in_any_order_and_again(stack: Stack, tmp_path: Path) -> None:
    stack.switch("events", on=True)  # takes the last day that has ended, by itself
    first, *_ = scheduled(stack)
    check_queues(stack, first["dag_run_id"])

    backfilled(stack, "--run-backwards")
    promoted = list(DAYS)
    check_events(stack, promoted)

    late = texts_of(DAYS[2])  # one gone, one corrected, one late
    del late["0"]
    write_day(stack.collections, DAYS[2], {**late, "1": "corrected", "late": "came late"})
    stack.switch("follower", on=True)
    backfilled(stack, "--reprocess-behavior", "completed")
    promoted.append(DAYS[2])  # nothing else has changed
    check_events(stack, promoted)
    (followed,) = stack.wait_for_all("follower", "asset_triggered", 1)
    assert (followed["partition_key"], followed["state"]) == (DAYS[2], "success")
    stack.switch("follower", on=False)
    assert len(rows(stack, "follower/text")["ids"]) == 30, "that day, and no other"

    order = random.sample(DAYS, len(DAYS))
    logging.getLogger(__name__).warning("triggered in this order: %s", order)
    for day in order:
        write_day(stack.collections, day, {**texts_of(day), "0": f"all days corrected, {day}"})
    for day in order:
        stack.trigger("events", day)
    ended(stack, "manual", [])
    check_events(stack, [*promoted, *DAYS])
    check_rows(stack, tmp_path)


def check_queues(stack: Stack, run: str) -> None:
    where = {task["task_id"]: task for task in stack.tasks("events", run)}
    encoded, pulled = where["text-v1.encode"], where["pull"]
    assert (encoded["queue"], encoded["pool"]) == ("gpu", "gpu")
    assert encoded["id"] in stack.log_of("worker-gpu")
    assert encoded["id"] not in stack.log_of("worker-default")
    assert pulled["id"] in stack.log_of("worker-default")


def scheduled(stack: Stack) -> list[dict[str, Any]]:
    """The runs that the schedule has started by itself, all well."""

    def ended() -> list[dict[str, Any]] | None:
        runs = stack.runs("events", "scheduled")
        return runs if runs and all(run["end_date"] for run in runs) else None

    runs = until(ended, 180, "the scheduled run has ended", lambda: stack.progress("events"))
    assert {run["state"] for run in runs} == {"success"}
    assert {run["partition_key"] for run in runs} <= set(SCHEDULED)
    return runs


def check_events(stack: Stack, days: list[str]) -> None:
    """One event for each promotion: those of `days`, and of what the schedule has taken."""
    expected = [*days, *(run["partition_key"] for run in scheduled(stack))]
    events = stack.events_of("events")
    assert sorted(event["partition_key"] for event in events) == sorted(expected)
    releases = [event["extra"]["release"] for event in events]
    assert len(set(releases)) == len(expected)
    assert sorted(releases) == sorted(json.loads(stack.python("-c", PROMOTED)))


def rows(stack: Stack, space: str, **environment: str) -> dict[str, Any]:
    return dict(json.loads(stack.python("-c", ROWS, space, **environment)))


def check_rows(stack: Stack, folder: Path) -> None:
    """Row for row what a single run over everything gives, in a warehouse of its own."""
    taken = {run["partition_key"] for run in scheduled(stack)}
    for day in {*SCHEDULED} - taken:
        (stack.collections / f"events/{day}.jsonl").unlink()
    stack.python("-m", "commonspace", "verify", "events/text")
    elsewhere = {"COMMONSPACE_WAREHOUSE": str(folder / "single")}
    stack.python("-m", "commonspace", "run", "events", **elsewhere)
    found = rows(stack, "events/text")
    assert found == rows(stack, "events/text", **elsewhere)
    assert len(found["ids"]) == 30 * (len(taken) + len(DAYS))
