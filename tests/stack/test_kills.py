"""What dies in the middle of a run: it is finished by tries, and nothing is encoded again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.running import Stack, running, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

COLLECTION = """
[collection]
name = "{name}"
owner = "data-team"
description = "Long texts, a few seconds a shard."
[source]
kind = "jsonl"
uri = "{name}.jsonl"
id = "id"
[[space]]
name = "text"
encoder = "hashed/64"
fields = ["text"]
[run]
shard_rows = 512
"""
WHAT_DIES = {"worker": "worker-default", "scheduler": "scheduler", "database": "postgres"}
"""A collection for each part, so that no run finds what another has done."""
ROWS, WORDS = 3_000, 2_500


def write_collection(folder: Path, name: str) -> None:
    (folder / f"{name}.toml").write_text(COLLECTION.format(name=name))
    with (folder / f"{name}.jsonl").open("w") as file:
        for number in range(ROWS):
            text = f"{name} {number} " * WORDS
            file.write(json.dumps({"id": f"i{number}", "text": text}) + "\n")


@pytest.fixture(scope="module")
def stack(place: Path) -> Iterator[Stack]:
    collections = place / "collections"
    collections.mkdir()
    for name in WHAT_DIES:
        write_collection(collections, name)
    with running(place / "stack", collections) as started:
        yield started


def finished_shards(stack: Stack, name: str) -> dict[str, int]:
    """Each one's file, with the time at which it was written."""
    folder = stack.folder / "warehouse/.runs" / name / "shards"
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")}


def watch(stack: Stack, name: str, run: str) -> dict[str, set[int]]:
    """When each shard was written, seen until the run has ended: a release takes them over."""
    seen: dict[str, set[int]] = {}

    def ended() -> bool:
        for path, written in finished_shards(stack, name).items():
            seen.setdefault(path, set()).add(written)
        return any(r["dag_run_id"] == run and r["end_date"] for r in stack.runs(name))

    until(ended, 600, f"{run} has ended")
    return seen


def encoding(stack: Stack, name: str, run: str) -> bool:
    states = [t["state"] for t in stack.tasks(name, run) if t["task_id"] == "text-v1.encode"]
    return "running" in states and bool(finished_shards(stack, name))


@pytest.mark.parametrize("name", WHAT_DIES)
def test_a_run_survives_the_death_of_a_part(name: str, stack: Stack) -> None:
    stack.switch_on(name)
    run = stack.trigger(name)
    until(lambda: encoding(stack, name, run), 300, "one shard is finished, another under way")
    before = finished_shards(stack, name)
    stack.kill(WHAT_DIES[name])

    seen = watch(stack, name, run)
    assert stack.wait_for(name, run) == "success"
    assert {path: seen[path] for path in before} == {p: {when} for p, when in before.items()}
    assert all(len(times) == 1 for times in seen.values()), "no shard was written twice"

    release = stack.folder / "warehouse" / name / "text/v1/releases/000001.json"
    ledger = json.loads(release.read_text())["ledger"]
    assert (ledger["offered"], ledger["encoded"]) == (ROWS, ROWS)
    assert [event["extra"]["rows"] for event in stack.events_of(name)] == [ROWS]
    stack.python("-m", "pipeline", "verify", f"{name}/text")
    if name == "worker":
        tries = [t["try_number"] for t in stack.tasks(name, run) if "encode" in t["task_id"]]
        assert max(tries) > 1, "what was killed was tried again"
