"""Runs that meet other runs, retries, twins and leftovers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import Conflict
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.run.run import rejected_ids
from commonspace.pipeline.run.steps import encode_and_validate, replanning_on_conflict
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from tests.support.warehouse import NAME, Warehouse, numbered_items

SPACE = "text/v1"


def task(collection: Any, warehouse: Warehouse, run: str, stage: str) -> dict[str, Any]:
    numbers = range(100) if stage == "encode" else ()
    planned = warehouse.store.read(f".runs/things/{run}/text-v1/plan.json")
    count = len(json.loads(planned.to_pybytes())["shards"]) if planned and numbers else 0
    return run_stage(stage, collection, warehouse.store, run, space=SPACE, shards=range(count))


def of_files(warehouse: Warehouse) -> Any:
    """Fifty items whose content is a file, which may go between two stages."""
    spaces = [{"name": "text", "encoder": "hashed/64", "image": "image"}]
    data = [{"id": f"i{n}", "image": f"{n}.bin"} for n in range(50)]
    files = {f"{n}.bin": f"bytes {n}".encode() for n in range(50)}
    return warehouse.collection(data, spaces=spaces, files=files, gates={"max_reject_share": 0.1})


def test_failures_that_may_pass_are_of_one_run_only(warehouse: Warehouse, tmp_path: Path) -> None:
    """Another run's bad moment must not change what this run has validated."""
    collection = of_files(warehouse)
    first, first_shards = warehouse.planned(collection, "first")
    second, second_shards = warehouse.planned(collection, "second")
    (tmp_path / "0.bin").rename(tmp_path / "kept")
    encode_stage(first, first_shards)
    ledger = validate_stage(first).ledger
    assert (ledger.encoded, ledger.rejected) == (49, 1)
    for n in range(1, 40):
        (tmp_path / f"{n}.bin").unlink()
    encode_stage(second, second_shards)
    release = publish_stage(first)
    assert release.rows == 49
    assert release.ledger["encoded"] == 49


def test_planning_again_encodes_nothing_again(warehouse: Warehouse, tmp_path: Path) -> None:
    """Not even a shard with a failure that may pass, which is kept for its run only."""
    collection = of_files(warehouse)
    few, many = (Scope(ids=frozenset(f"i{n}" for n in r)) for r in (range(40, 50), range(40)))
    work, shards = warehouse.planned(collection, "many", scope=many)
    (tmp_path / "0.bin").unlink()
    encode_stage(work, shards)
    warehouse.run(collection, scope=few)
    for n in range(1, 50):
        (tmp_path / f"{n}.bin").unlink()
    reported: list[str] = []
    verdict = replanning_on_conflict(work, encode_and_validate, reported.append)
    assert len(reported) == 1
    assert (verdict.ledger.encoded, verdict.ledger.rejected) == (39, 1)
    said = {gate.name: gate.message for gate in verdict.gates}
    assert "no canary" not in said["canary"], "what is known of the shard stays with it"


def test_a_damaged_shard_is_made_again(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(30))
    work, shards = warehouse.planned(collection, "first")
    encode_stage(work, shards)
    path = warehouse.root / work.shared_shard(shards[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    report = warehouse.run(collection)
    assert report["ledger"]["encoded"] == 30
    assert warehouse.verify()["ok"]


def test_a_task_plans_again_after_a_conflict(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(20))
    for run in ("a", "b"):
        run_stage("pull", collection, warehouse.store, run)
        task(collection, warehouse, run, "plan")
        task(collection, warehouse, run, "encode")
    for stage in ("validate", "publish", "promote", "report"):
        task(collection, warehouse, "a", stage)
    with pytest.raises(Conflict):
        validate_stage(warehouse.work(collection, "b"))
    assert task(collection, warehouse, "b", "validate")["kept"] == 20
    task(collection, warehouse, "b", "publish")
    assert task(collection, warehouse, "b", "promote")["promoted"] is False
    assert task(collection, warehouse, "b", "report")["state"] == "unchanged"
    assert release_numbers(warehouse.store, NAME) == [1]
    for stage in ("validate", "publish", "promote", "report"):  # cleared in the scheduler
        task(collection, warehouse, "a", stage)
    assert warehouse.verify()["ok"]


def test_a_promotion_that_is_tried_again_is_still_announced(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(20))
    run_stage("pull", collection, warehouse.store, "a")
    for stage in ("plan", "encode", "validate", "publish"):
        task(collection, warehouse, "a", stage)
    assert task(collection, warehouse, "a", "promote")["promoted"] is True
    assert task(collection, warehouse, "a", "promote")["promoted"] is True
    assert task(collection, warehouse, "a", "report")["state"] == "promoted"


def test_nothing_to_do_is_no_error(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(20, tag="a"), source={"metadata": ["tag"]})
    warehouse.run(collection)
    report = warehouse.run(collection, scope=Scope(ids=frozenset({"no such id"})))
    assert report["ledger"]["offered"] == 0
    assert report["state"] == "unchanged"


def test_healing_one_reject_of_two_is_not_refused(warehouse: Warehouse) -> None:
    bad = [{"id": "bad1", "text": " "}, {"id": "bad2", "text": " "}]
    warehouse.run([*numbered_items(300), *bad])
    collection = warehouse.collection(
        [*numbered_items(300), {"id": "bad1", "text": "healed"}, bad[1]]
    )
    scope = rejected_ids(warehouse.store, collection, list(collection.space))
    report = warehouse.run(collection, scope=scope, retry_rejects=True)
    assert report["state"] == "promoted"
    assert len(warehouse.open()) == 301
    assert warehouse.open().rejects["id"].to_pylist() == ["bad2"]


def test_an_item_of_a_list_that_went_bad_leaves_the_release(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(100))
    data = numbered_items(100)
    data[3]["text"] = {"en": "text"}
    report = warehouse.run(data, scope=Scope(ids=frozenset({"i0003"})))
    assert (report["ledger"]["rejected"], report["ledger"]["deleted"]) == (1, 1)
    assert warehouse.open().get(["i0003"])["found"].to_pylist() == [False]


def test_one_refused_space_does_not_stop_the_others(warehouse: Warehouse) -> None:
    spaces = [
        {"name": "title", "encoder": "hashed/32", "fields": ["title"]},
        {"name": "text", "encoder": "hashed/64", "fields": ["text"]},
    ]
    data = [*numbered_items(9, title="a"), {"id": "x", "text": "fine", "title": " "}]
    refused, promoted = warehouse.run_spaces(data, spaces=spaces)
    assert "gate reject_share refused" in refused["what"]
    assert "empty_text" in refused["do"]
    assert promoted["state"] == "promoted"
    assert len(warehouse.open()) == 10


def test_a_new_owner_is_a_new_release_of_the_same_parts(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(10))
    warehouse.run(collection)
    first = warehouse.open().release
    path = Path(collection.path)
    path.write_text(path.read_text().replace('"tests"', '"others"'))
    warehouse.run(load_collection(path))
    second = warehouse.open().release
    assert (first.owner, second.owner) == ("tests", "others")
    assert first.parts == second.parts


def test_old_runs_are_forgotten_and_working_ones_are_not(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(5))
    working, shards = warehouse.planned(collection, "19990101T000000-working")
    dead, _ = warehouse.planned(collection, "19990101T000000-dead")
    week = time.time() - 8 * 86_400
    for key in warehouse.store.list(dead.run.folder):
        os.utime(warehouse.root / key, (week, week))
    for _ in range(25):
        warehouse.run(collection)
    kept = {key.split("/")[2] for key in warehouse.store.list(".runs/things")} - {"shards"}
    assert working.run.id in kept
    assert dead.run.id not in kept
    assert len(kept) <= 22
    encode_stage(working, shards)
    remove_old_runs(working.run)
