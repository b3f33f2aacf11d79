"""A damaged or lost CURRENT: nothing is guessed, nothing else stops, and its owner can go on."""

from __future__ import annotations

import json

import pytest

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.maintenance.retain import retain
from commonspace.pipeline.publish.manual import overwrite_pointer, promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.read.catalog import list_spaces
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.run.run import plan_collection
from commonspace.pipeline.workspace.work import Run
from tests.support.warehouse import NAME, Warehouse, numbered_items

SPACES = [
    {"name": "text", "encoder": "hashed/64", "fields": ["text"]},
    {"name": "other", "encoder": "hashed/32", "fields": ["text"]},
]


def harm(warehouse: Warehouse, how: str) -> None:
    path = warehouse.root / current_key(NAME)
    if how == "lost":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["damaged", "lost"])
def test_only_its_own_space_stops(warehouse: Warehouse, how: str) -> None:
    for number in (1, 2):
        warehouse.run_spaces(numbered_items(number), spaces=SPACES)
    harm(warehouse, how)
    collection = warehouse.collection(numbered_items(3), spaces=SPACES)
    refused, planned = plan_collection(
        Run("p", collection, warehouse.store, quiet=True), collection.space
    )
    assert (refused["error"], planned["encode"]) == ("ContractBroken", 1)
    broken, fine = warehouse.run_spaces(collection)
    assert (broken["error"], fine["state"]) == ("ContractBroken", "promoted")
    assert "things/text/v1/CURRENT" in broken["what"]
    assert "`commonspace rollback things/text/v1 RELEASE`" in broken["do"]
    assert "kept: 1 to 2" in broken["do"]
    assert len(warehouse.open("things/other")) == 3
    assert release_numbers(warehouse.store, NAME) == [1, 2]
    if how == "damaged":
        other, text = list_spaces(warehouse.store, [])
        assert (other["problem"], other["rows"], text["rows"]) == (None, 3, None)
        assert text["problem"].startswith("things/text/v1/CURRENT: the pointer")


@pytest.mark.parametrize("how", ["damaged", "lost"])
def test_its_owner_says_what_is_served(warehouse: Warehouse, how: str) -> None:
    for number in (1, 2, 3):
        warehouse.run(numbered_items(number))
    harm(warehouse, how)
    for ask in (
        lambda: warehouse.open(),
        lambda: warehouse.verify("things/text/v1", repair=True),
        lambda: roll_back(warehouse.store, NAME),
        lambda: warehouse.run_spaces(numbered_items(4)),
    ):
        with pytest.raises(ContractBroken, match="pointer to the served release") as refusal:
            ask()
        assert "`commonspace rollback things/text/v1 RELEASE`" in refusal.value.do
    with pytest.raises(NotPublished, match="kept: 1 to 3"):
        roll_back(warehouse.store, NAME, 9)
    done = roll_back(warehouse.store, NAME, 2, "CURRENT was lost")
    assert (done.release, done.before, load_pending_promotion(warehouse.store, NAME)) == (
        2,
        0,
        None,
    )
    assert len(warehouse.open()) == 2
    assert warehouse.verify()["ok"]
    report = warehouse.run(numbered_items(4))
    assert (report["state"], report["ledger"]["kept"]) == ("candidate", 2)
    assert report["held"]["reason"] == "CURRENT was lost"
    promote_by_hand(warehouse.store, NAME)
    assert len(warehouse.open()) == 4


def test_a_space_that_never_served_anything_is_not_lost(warehouse: Warehouse) -> None:
    for count in (2, 3):
        warehouse.run(numbered_items(count), promote=False)
    with pytest.raises(NotPublished, match="nothing is served yet"):
        roll_back(warehouse.store, NAME, 1)
    with pytest.raises(NotPublished, match="no promoted release"):
        warehouse.open()
    assert promote_by_hand(warehouse.store, NAME).release == 2


def test_a_whole_pointer_is_not_overwritten(warehouse: Warehouse) -> None:
    """It was mended between the look and the swap: `serve` sees what it is about to replace."""
    for number in (1, 2, 3):
        warehouse.run(numbered_items(number))
    pointer = load_current(warehouse.store, NAME)
    with pytest.raises(CommonspaceError, match="has been promoted meanwhile"):
        overwrite_pointer(warehouse.store, NAME, 1, "")
    assert load_current(warehouse.store, NAME) == pointer


def test_every_space_damaged_is_an_error_of_the_run(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(2))
    data = json.loads((warehouse.root / current_key(NAME)).read_text())
    (warehouse.root / current_key(NAME)).write_text(json.dumps({**data, "release": 9}))
    with pytest.raises(ContractBroken, match="checksum"):
        warehouse.run(numbered_items(3))
    assert len([name for name in warehouse.store.folders(".runs/things") if name != "shards"]) == 1


def test_retention_removes_nothing_where_it_is_lost(warehouse: Warehouse) -> None:
    for number in range(1, 5):
        warehouse.run(numbered_items(number), spaces=SPACES[:1])
    roll_back(warehouse.store, NAME, 1)
    (warehouse.root / current_key(NAME)).unlink()
    with pytest.raises(ContractBroken, match="pointer to the served release is lost"):
        retain(warehouse.store, NAME, last=1)
    assert release_numbers(warehouse.store, NAME) == [1, 2, 3, 4]


def test_no_other_version_is_opened_instead(warehouse: Warehouse) -> None:
    for version in (1, 2):
        space = {**SPACES[0], "version": version}
        for number in (1, 2):
            warehouse.run(numbered_items(number), spaces=[space])
    assert warehouse.open().name == "things/text/v2"
    (warehouse.root / current_key(SpaceName("things", "text", 2))).unlink()
    with pytest.raises(ContractBroken, match="pointer to the served release is lost"):
        warehouse.open()
    assert {one["space"]: bool(one["problem"]) for one in list_spaces(warehouse.store, [])} == {
        "things/text/v1": False, "things/text/v2": True,
    }  # fmt: skip
