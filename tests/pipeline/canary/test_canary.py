"""Drift that no label shows is noticed before anything is encoded, and before a query is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders import catalog
from commonspace.pipeline.canary.reference import read_candidate_canary, read_published_canary
from commonspace.pipeline.contract.layout import candidate_canary_key, release_key
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import ContractBroken, GateRefused
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.release.manifest import create_release, load_release, release_numbers
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from tests.pipeline.canary.canaries import CONTRACT, ENCODER, FILE, NAME, canary_gate
from tests.support.collection_file import TEXT_SPACE
from tests.support.warehouse import Warehouse, items_with_images, numbered_items


@pytest.fixture
def drift(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A kernel that computes something else under the same names, as a new library might."""
    return lambda: monkeypatch.setattr(
        "commonspace.encoders.hashed.MULTIPLIER", np.uint64(0x5851F42D4C957F2D)
    )


def test_the_first_run_makes_it_and_the_next_one_compares(warehouse: Warehouse) -> None:
    first = warehouse.run(numbered_items(20))
    assert canary_gate(first)["message"].startswith("the reference vectors were made")
    data = (warehouse.root / FILE).read_bytes()
    canary = read_published_canary(
        warehouse.store, NAME, CONTRACT, load_release(warehouse.store, NAME, 1).canary
    )
    assert canary is not None
    assert canary.probes == catalog.probes("text")
    assert np.array_equal(canary.vectors, ENCODER.encode(canary.probes).vectors)
    assert canary.origin["run"] == first["run"]
    second = warehouse.run(numbered_items(21))
    gate = canary_gate(second)
    assert (gate["ok"], gate["value"], gate["limit"]) == (True, 0.0, 0.0)
    assert "largest angle is 0 rad" in gate["message"]
    release = load_release(warehouse.store, NAME, 2)
    assert release.canary == load_release(warehouse.store, NAME, 1).canary
    assert gate in release.gates
    assert (warehouse.root / FILE).read_bytes() == data


def test_drift_is_refused_before_anything_is_encoded(
    warehouse: Warehouse, drift: Callable[[], None]
) -> None:
    warehouse.run(numbered_items(20))
    before = warehouse.open().to_arrow()
    drift()
    collection = warehouse.collection(numbered_items(30), run={"shard_rows": 5})
    work, shards = warehouse.planned(collection, "drifted")
    with pytest.raises(GateRefused, match=r"probe \d+ .* is .* rad .* allows 0 rad") as refused:
        encode_stage(work, shards)
    assert "version = 2" in refused.value.do
    assert not refused.value.retry
    assert not any(work.finished_shard(key) for key in shards)
    (note,) = warehouse.root.glob(".runs/things/drifted/text-v1/canary-*.json")
    noted = json.loads(note.read_text())
    assert not noted["ok"]
    assert noted["largest_angle"] > 0.1
    report = warehouse.run(collection)
    assert report["error"] == "GateRefused"
    assert release_numbers(warehouse.store, NAME) == [1]
    assert warehouse.open().to_arrow().equals(before)


def test_a_run_that_encodes_nothing_checks_no_canary(
    warehouse: Warehouse, drift: Callable[[], None]
) -> None:
    options = {"source": {"metadata": ["tag"]}}
    warehouse.run(numbered_items(20, tag="a"), **options)
    drift()
    report = warehouse.run(numbered_items(20, tag="b"), **options)
    gate = canary_gate(report)
    assert (gate["ok"], gate["value"]) == (True, None)
    assert "made no vectors" in gate["message"]
    assert report["release"] == 2
    assert (
        load_release(warehouse.store, NAME, 2).canary
        == load_release(warehouse.store, NAME, 1).canary
    )


def test_two_unlike_workers_of_one_first_run_are_noticed(
    warehouse: Warehouse, drift: Callable[[], None]
) -> None:
    work, shards = warehouse.planned(
        warehouse.collection(numbered_items(60), run={"shard_rows": 10}), "first"
    )
    encode_stage(work, shards[:1])
    drift()
    with pytest.raises(GateRefused, match="other vectors than run first"):
        encode_stage(work, shards[1:])


def test_a_worker_mended_and_tried_again_passes(
    warehouse: Warehouse, drift: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.run(numbered_items(20))
    work, shards = warehouse.planned(warehouse.collection(numbered_items(30)), "second")
    drift()
    with pytest.raises(GateRefused):
        encode_stage(work, shards)
    monkeypatch.undo()
    encode_stage(work, shards)
    gate = next(gate for gate in validate_stage(work).gates if gate.name == "canary")
    assert (gate.ok, gate.value) == (True, 0.0)


def test_a_killed_first_run_is_followed_by_a_clean_one(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(60), run={"shard_rows": 10})
    work, shards = warehouse.planned(collection, "killed")
    encode_stage(work, shards[:2])
    assert not (warehouse.root / FILE).exists(), "nothing is published yet"
    report = warehouse.run(collection)
    assert report["shards"]["encoded"] == len(shards) - 2
    assert canary_gate(report)["value"] == 0.0
    canary = read_published_canary(
        warehouse.store, NAME, CONTRACT, load_release(warehouse.store, NAME, 1).canary
    )
    assert canary is not None
    assert canary.origin["run"] == "killed"


def test_a_first_run_that_only_finds_finished_shards_publishes_their_canary(
    warehouse: Warehouse,
) -> None:
    collection = warehouse.collection(numbered_items(20))
    encode_stage(*warehouse.planned(collection, "killed"))
    report = warehouse.run(collection)
    assert canary_gate(report)["value"] is None
    assert load_release(warehouse.store, NAME, 1).canary is not None
    assert warehouse.verify()["ok"]


def test_a_killed_first_run_on_another_engine_is_named_with_the_way_out(
    warehouse: Warehouse, drift: Callable[[], None]
) -> None:
    collection = warehouse.collection(numbered_items(60), run={"shard_rows": 10})
    work, shards = warehouse.planned(collection, "killed")
    encode_stage(work, shards[:2])
    drift()
    report = warehouse.run(collection)
    assert "than run killed did" in report["what"]
    folder = str(Path(candidate_canary_key(NAME, CONTRACT.fingerprint)).parent)
    assert folder in report["do"]
    warehouse.store.delete_prefix(folder)
    report = warehouse.run(collection)
    assert report["state"] == "promoted"
    assert report["shards"]["encoded"] == len(shards)


def test_an_encoder_changed_before_the_first_release_has_a_canary_of_its_own(
    warehouse: Warehouse,
) -> None:
    encode_stage(*warehouse.planned(warehouse.collection(numbered_items(20)), "killed"))
    other = {"name": "text", "encoder": "hashed/32", "fields": ["text"]}
    report = warehouse.run(numbered_items(20), spaces=[other])
    assert report["state"] == "promoted"
    assert warehouse.verify(canary=True)["canary"]["largest_angle"] == 0.0


def test_a_query_by_another_encoder_is_not_answered(
    warehouse: Warehouse, drift: Callable[[], None]
) -> None:
    warehouse.run(numbered_items(20))
    assert warehouse.open().search("the text of item 7", k=1)["id"].to_pylist() == ["i0007"]
    drift()
    space = warehouse.open()
    for _ in range(2):
        with pytest.raises(ContractBroken, match="makes other vectors"):
            space.search("the text of item 7")
    assert space.search(id="i0007", k=3).num_rows == 3
    assert space.search(vector=np.ones(64), k=3).num_rows == 3


def test_verify_checks_the_canary_when_asked(
    warehouse: Warehouse, drift: Callable[[], None]
) -> None:
    report = warehouse.run(numbered_items(20))
    answer = warehouse.verify()
    assert answer["canary"]["largest_angle"] is None
    assert (answer["canary"]["probes"], answer["canary"]["run"]) == (32, report["run"])
    assert warehouse.verify(canary=True)["canary"]["largest_angle"] == 0.0
    drift()
    assert warehouse.verify()["ok"]
    answer = warehouse.verify(canary=True)
    assert not answer["ok"]
    assert answer["canary"]["largest_angle"] > 0.1
    assert "makes other vectors" in answer["problems"][0]


def test_a_space_from_before_canaries_gets_one_with_the_next_vectors(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(20))
    release = replace(load_release(warehouse.store, NAME, 1), canary=None)
    warehouse.store.delete(release_key(NAME, 1))
    warehouse.store.delete(FILE)
    warehouse.store.delete(candidate_canary_key(NAME, CONTRACT.fingerprint))
    create_release(warehouse.store, NAME, release)
    answer = warehouse.verify(canary=True)
    assert answer["ok"]
    assert answer["canary"] is None
    assert warehouse.open().search("the text of item 7", k=1)["id"].to_pylist() == ["i0007"]
    report = warehouse.run(numbered_items(21))
    assert "were made" in canary_gate(report)["message"]
    assert load_release(warehouse.store, NAME, 2).canary is not None
    assert warehouse.verify(canary=True)["canary"]["largest_angle"] == 0.0


def test_vectors_without_a_canary_check_are_refused(warehouse: Warehouse) -> None:
    work, shards = warehouse.planned(warehouse.collection(numbered_items(20)), "first")
    encode_stage(work, shards)
    for note in warehouse.root.glob(".runs/things/first/text-v1/canary-*.json"):
        note.unlink()
    with pytest.raises(GateRefused, match="gate canary refused: 1 shards were encoded and no"):
        validate_stage(work)
    with pytest.raises(GateRefused):
        publish_stage(work)


def test_each_modality_has_its_own(warehouse: Warehouse) -> None:
    spaces = [TEXT_SPACE, {"name": "photo", "encoder": "hashed/32", "image": "image"}]
    data, files = items_with_images(8)
    for extra in ([], [{"id": "new", "text": "new", "image": "0.jpg"}]):
        reports = warehouse.run_spaces([*data, *extra], spaces=spaces, files=files)
        assert [r["state"] for r in reports] == ["promoted"] * 2
    assert canary_gate(reports[0])["value"] == 0.0
    assert canary_gate(reports[1])["value"] is None, "its picture was known"
    key = "things/photo/v1/canary.parquet"
    data_ = warehouse.store.read(key)
    assert data_ is not None
    assert read_table(data_, key)["probe"].to_pylist() == catalog.probes("image")
    assert warehouse.verify("things/photo", canary=True)["canary"]["largest_angle"] == 0.0


def test_a_canary_outlives_its_shards_but_not_by_much(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(60), run={"shard_rows": 10})
    work, shards = warehouse.planned(collection, "killed")
    encode_stage(work, shards[:2])
    now = time.time()

    def age(key: str, days: float) -> None:
        os.utime(warehouse.root / key, (now - days * 86_400,) * 2)

    age(candidate_canary_key(NAME, CONTRACT.fingerprint), 8)
    later = warehouse.work(collection).run
    remove_old_runs(later)
    assert read_candidate_canary(warehouse.store, NAME, CONTRACT) is not None
    for key in shards[:2]:
        age(work.shared_shard(key), 8)
    remove_old_runs(later)
    assert read_candidate_canary(warehouse.store, NAME, CONTRACT) is None
