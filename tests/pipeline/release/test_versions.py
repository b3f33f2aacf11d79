"""Versions of a space: side by side, retired, and the one that a bare name means."""

from __future__ import annotations

import warnings

import pytest

from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.publish.manual import promote_by_hand
from commonspace.pipeline.release.markers.retirement import retire_space, revive_space
from tests.support.warehouse import NAME, Warehouse, numbered_items


def test_two_versions_live_side_by_side(warehouse: Warehouse) -> None:
    old = {"name": "text", "encoder": "hashed/64", "fields": ["text"]}
    new = {"name": "text", "encoder": "hashed/32", "fields": ["text"]}
    warehouse.run(numbered_items(10), spaces=[old])
    before = warehouse.open("things/text/v1").to_arrow()
    with pytest.raises(ContractBroken, match="dim: 64 -> 32") as refusal:
        warehouse.run(numbered_items(10), spaces=[new])
    assert "version = 2" in refusal.value.do
    both = [old, {**new, "version": 2}]
    reports = warehouse.run_spaces(numbered_items(10), spaces=both)
    assert [report["state"] for report in reports] == ["unchanged", "promoted"]
    assert warehouse.open("things/text/v1").to_arrow().equals(before)
    assert warehouse.open("things/text").spec.dim == 32
    warehouse.run_spaces(numbered_items(15), spaces=both)
    assert [len(warehouse.open(f"things/text/v{n}")) for n in (1, 2)] == [15, 15]


def test_a_retired_version_warns_readers_and_refuses_runs(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(10))
    warehouse.run(collection)
    retired = retire_space(warehouse.store, NAME, "too old")
    assert retire_space(warehouse.store, NAME) == retired
    assert retire_space(warehouse.store, NAME, "replaced by v2").retired_at == retired.retired_at
    with pytest.warns(FutureWarning, match=r"things/text/v1 was retired .*: replaced by v2"):
        assert len(warehouse.open()) == 10
    with pytest.raises(UserMistake, match="retired"):
        warehouse.run(collection)
    with pytest.raises(UserMistake, match="retired"):
        promote_by_hand(warehouse.store, NAME)
    revive_space(warehouse.store, NAME)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warehouse.run(collection)["state"] == "unchanged"
        warehouse.open()


def test_the_highest_version_alive_is_the_one_that_is_meant(warehouse: Warehouse) -> None:
    space = {"name": "text", "encoder": "hashed/64", "fields": ["text"]}
    for version in (1, 2):
        warehouse.run(numbered_items(version), spaces=[{**space, "version": version}])
    retire_space(warehouse.store, SpaceName("things", "text", 2))
    assert warehouse.open().name == "things/text/v1"


def test_a_retired_version_that_was_never_promoted_comes_back(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(10))
    warehouse.run(collection, promote=False)
    retire_space(warehouse.store, NAME, "by mistake")
    revive_space(warehouse.store, NAME)
    assert warehouse.run(collection)["release"] == 1
    assert len(warehouse.open()) == 10
