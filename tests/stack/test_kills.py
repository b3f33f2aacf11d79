"""What dies in the middle of a run: it is finished by tries, and nothing is encoded again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stack.client import Stack, until
from tests.support.collection_file import write_collection

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

WHAT_DIES = {"worker": "worker-default", "scheduler": "scheduler", "database": "postgres"}
"""A collection for each part, so that no run finds what another has done."""
ROWS, WORDS = 3_000, 2_500


def write_collections(folder: Path) -> None:
    for name in WHAT_DIES:
        about = {"description": "Long texts, a few seconds a shard."}
        write_collection(folder, name=name, collection=about, run={"shard_rows": 512})
        with (folder / f"{name}.jsonl").open("w") as file:
            for number in range(ROWS):
                text = f"{name} {number} " * WORDS
                file.write(json.dumps({"id": f"i{number}", "text": text}) + "\n")


def finished_shards(stack: Stack, name: str) -> dict[str, str]:
    """What each encoding has noted, as an etag: it says how long it took, made again it differs."""
    found = [one for page in stack.warehouse.list(f".runs/{name}") for one in page]
    return {one["path"]: str(one["e_tag"]) for one in found if "/encode-" in one["path"]}


def encoding(stack: Stack, name: str, run: str) -> bool:
    states = [t["state"] for t in stack.tasks(name, run) if t["task_id"] == "text-v1.encode"]
    return "running" in states and bool(finished_shards(stack, name))


@pytest.mark.parametrize("name", WHAT_DIES)
def test_a_run_survives_the_death_of_a_part(name: str, stack: Stack) -> None:
    stack.switch(name, on=True)
    run = stack.trigger(name)
    until(
        lambda: encoding(stack, name, run),
        180,
        "one shard is finished, another under way",
        lambda: stack.progress(name),
    )
    before = finished_shards(stack, name)
    stack.kill(WHAT_DIES[name])

    assert stack.wait_for(name, run) == "success"
    after = finished_shards(stack, name)
    assert len(before) < len(after)
    assert {path: after[path] for path in before} == before, "nothing finished is encoded again"

    manifest = stack.warehouse.get(f"{name}/text/v1/releases/000001.json").bytes()
    ledger = json.loads(bytes(manifest))["ledger"]
    assert (ledger["offered"], ledger["encoded"]) == (ROWS, ROWS)
    assert [event["extra"]["rows"] for event in stack.events_of(name)] == [ROWS]
    stack.python("-m", "commonspace", "verify", f"{name}/text")
    if name == "worker":
        tries = [t["try_number"] for t in stack.tasks(name, run) if "encode" in t["task_id"]]
        assert max(tries) > 1, "what was killed was tried again"
