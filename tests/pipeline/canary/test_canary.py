"""Drift that no label shows is noticed before anything is encoded, and before a query is."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders import catalog
from commonspace.encoders.hashed import HashedEncoder
from commonspace.pipeline.canary.check import check_canary
from commonspace.pipeline.canary.reference import (
    Canary,
    read_candidate_canary,
    read_published_canary,
)
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import canary_key, candidate_canary_key, release_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import ContractBroken, GateRefused
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.release.manifest import create_release, load_release, release_numbers
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from tests.support.warehouse import Warehouse, numbered_items

NAME = SpaceName("things", "text", 1)
FILE = canary_key(NAME)
ENCODER = HashedEncoder(64, "text")
CONTRACT = Contract.of(NAME, ENCODER.spec, {})


@pytest.fixture
def drift(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A kernel that computes something else under the same names, as a new library might."""
    return lambda: monkeypatch.setattr(
        "commonspace.encoders.hashed._MULTIPLIER", np.uint64(0x5851F42D4C957F2D)
    )


def canary_gate(report: Any) -> dict[str, Any]:
    return next(dict(gate) for gate in report["gates"] if gate["name"] == "canary")


def reference(encoder: HashedEncoder = ENCODER) -> Canary:
    probes = catalog.probes(encoder.spec.modality)
    origin = {
        "fingerprint": encoder.spec.fingerprint, "run": "earlier", "device": "cpu", "versions": {},
    }  # fmt: skip
    return Canary(probes, encoder.encode(probes).vectors, [None] * 32, origin)


def rotated(canary: Canary, probe: int, angle: float) -> Canary:
    """The reference with one vector turned by `angle` radians."""
    vectors = canary.vectors.astype(np.float64)
    side = np.roll(vectors[probe], 1)
    side -= (side @ vectors[probe]) * vectors[probe]
    side /= np.linalg.norm(side)
    vectors[probe] = np.cos(angle) * vectors[probe] + np.sin(angle) * side
    return replace(canary, vectors=vectors.astype(np.float32))


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
        warehouse.collection(numbered_items(60), run={"shard_rows": 10}), warehouse, "first"
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


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "rewrite"])
def test_a_canary_that_is_damaged_or_lost_is_refused(warehouse: Warehouse, damage: str) -> None:
    warehouse.run(numbered_items(20))
    path = warehouse.root / FILE
    data = bytearray(path.read_bytes())
    if damage == "rewrite":  # whole, with seal and checksums, and of other vectors
        warehouse.store.put(FILE, rotated(reference(), 3, 0.2).to_bytes(ENCODER.spec))
    elif damage == "delete":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data if damage == "flip" else data[:-100])
    report = warehouse.run(numbered_items(21))
    assert report["error"] == "ContractBroken"
    assert report["what"].startswith(FILE)
    assert "Restore the file" in report["do"]
    with pytest.raises(ContractBroken, match=r"canary\.parquet"):
        warehouse.open().search("item 7")
    assert warehouse.open().search(id="i0007", k=3).num_rows == 3
    answer = warehouse.verify(repair=True)
    assert not answer["ok"]
    assert "makes no new one" in answer["problems"][0]
    assert not path.exists() if damage == "delete" else path.exists()


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_damaged_candidate_says_what_to_remove(warehouse: Warehouse, damage: str) -> None:
    collection = warehouse.collection(numbered_items(20))
    whole = reference().to_bytes(ENCODER.spec).to_pybytes()
    warehouse.store.put(
        candidate_canary_key(NAME, CONTRACT.fingerprint),
        b"x" * 99 if damage == "garbage" else whole[:900],
    )
    report = warehouse.run(collection)
    assert report["error"] == "ContractBroken"
    assert "remove .runs/things/shards/text-v1-" in report["do"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: rotated(c, 11, 0.25), r"probe 11 .* is 0\.25 rad"),
        (lambda c: replace(c, probes=[*c.probes[:5], " ", *c.probes[6:]]),
         r"probe 5 .* gets no vector \(nothing but blank"),
        (lambda c: replace(c, vectors=c.vectors * (np.arange(32) != 7)[:, None],
                           reasons=[None] * 7 + ["empty_text"] + [None] * 24),
         r"probe 7 .* has a vector and had none"),
    ],
)  # fmt: skip
def test_what_moved_is_named(warehouse: Warehouse, change: Any, says: str) -> None:
    warehouse.store.put_if_absent(
        candidate_canary_key(NAME, CONTRACT.fingerprint), change(reference()).to_bytes(ENCODER.spec)
    )
    report = warehouse.run(numbered_items(20))
    assert report["error"] == "GateRefused"
    assert re.search(says, report["what"]), report["what"]


@pytest.mark.parametrize("ways", ["dim", "count", "zero"])
def test_a_canary_that_cannot_be_the_spaces_is_refused(warehouse: Warehouse, ways: str) -> None:
    canary, spec = reference(), ENCODER.spec
    if ways == "dim":
        spec = HashedEncoder(32, "text").spec
        canary = replace(canary, vectors=reference(HashedEncoder(32, "text")).vectors)
    elif ways == "count":
        canary = replace(canary, probes=canary.probes[:31], vectors=canary.vectors[:31],
                         reasons=canary.reasons[:31])  # fmt: skip
    else:
        canary = replace(canary, vectors=canary.vectors * 0)
    warehouse.store.put_if_absent(
        candidate_canary_key(NAME, CONTRACT.fingerprint), canary.to_bytes(spec)
    )
    report = warehouse.run(numbered_items(20))
    assert report["error"] == "ContractBroken"
    assert report["what"].startswith(".runs/things/shards")


def test_a_tolerance_of_zero_means_every_bit() -> None:
    canary = reference()
    assert check_canary(canary, ENCODER).ok
    vectors = canary.vectors.copy()
    component = int(np.abs(vectors[9]).argmax())
    vectors[9, component] = np.nextafter(vectors[9, component], np.float32(2))
    check = check_canary(replace(canary, vectors=vectors), ENCODER)
    assert not check.ok
    assert check.probe == 9
    assert 0 < check.angle < 1e-6


def test_what_changed_since_is_listed() -> None:
    canary = reference()
    canary = replace(canary, origin={**canary.origin, "device": "cuda", "versions": {"torch": "1"}})
    do = check_canary(rotated(canary, 0, 0.1), ENCODER).do
    assert "device cuda -> cpu" in do
    assert "torch 1 -> " in do
    assert "numpy absent -> " in do


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
    spaces = [
        {"name": "text", "encoder": "hashed/64", "fields": ["text"]},
        {"name": "photo", "encoder": "hashed/32", "image": "image"},
    ]
    data = [{"id": f"i{n}", "text": f"text {n}", "image": f"{n}.jpg"} for n in range(8)]
    files = {f"{n}.jpg": f"bytes of {n}".encode() for n in range(8)}
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


def test_equal_canaries_are_equal_bytes() -> None:
    first, second = (reference().to_bytes(ENCODER.spec) for _ in range(2))
    assert isinstance(first, pa.Buffer)
    assert first.equals(second)
