"""The check itself: what moved is named, and a reference that cannot be the space's is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.pipeline.canary.check import check_canary
from commonspace.pipeline.contract.layout import candidate_canary_key
from commonspace.pipeline.errors import ContractBroken
from tests.pipeline.canary.canaries import CONTRACT, ENCODER, FILE, NAME, reference, rotated
from tests.support.warehouse import Warehouse, numbered_items


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
    assert "cannot make a new one" in answer["problems"][0]
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


def test_equal_canaries_are_equal_bytes() -> None:
    first, second = (reference().to_bytes(ENCODER.spec) for _ in range(2))
    assert isinstance(first, pa.Buffer)
    assert first.equals(second)
