"""A damaged or lost CURRENT: nothing is guessed, nothing else stops, and its owner can go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.maintenance.retain import retain
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.publish.manual import _overwrite_pointer, promote_by_hand, roll_back
from commonspace.pipeline.publish.promote import announced
from commonspace.pipeline.read.catalog import catalog
from commonspace.pipeline.read.space import open_space
from commonspace.pipeline.release.manifest import numbers
from commonspace.pipeline.release.pointer import current
from commonspace.pipeline.run.run import new_run_id, plan_collection, run_collection
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.work import Run

NAME = SpaceName("things", "text", 1)
SPACES = [
    {"name": "text", "encoder": "hashed/64", "fields": ["text"]},
    {"name": "other", "encoder": "hashed/32", "fields": ["text"]},
]


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"i{n:03}", "text": f"text of item {n}"} for n in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "warehouse")


def go(collection: Any, store: LocalStore) -> list[dict[str, Any]]:
    run = Run(new_run_id(), collection, store, quiet=True)
    return run_collection(run, list(collection.space), log=lambda _: None)


def harm(store: LocalStore, how: str) -> None:
    path = store.root / current_key(NAME)
    if how == "lost":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["damaged", "lost"])
def test_only_its_own_space_stops(make_collection: Any, store: LocalStore, how: str) -> None:
    for number in (1, 2):
        go(make_collection(rows(number), spaces=SPACES), store)
    harm(store, how)
    collection = make_collection(rows(3), spaces=SPACES)
    refused, planned = plan_collection(Run("p", collection, store, quiet=True), collection.space)
    assert (refused["error"], planned["encode"]) == ("ContractBroken", 1)
    broken, fine = go(collection, store)
    assert (broken["error"], fine["state"]) == ("ContractBroken", "promoted")
    assert "things/text/v1/CURRENT" in broken["what"]
    assert "`commonspace rollback things/text/v1 RELEASE`" in broken["do"]
    assert "kept: 1 to 2" in broken["do"]
    assert len(open_space("things/other", warehouse=store.address)) == 3
    assert numbers(store, NAME) == [1, 2]
    if how == "damaged":
        other, text = catalog(store, [])
        assert (other["problem"], other["rows"], text["rows"]) == (None, 3, None)
        assert text["problem"].startswith("things/text/v1/CURRENT: the pointer")


@pytest.mark.parametrize("how", ["damaged", "lost"])
def test_its_owner_says_what_is_served(make_collection: Any, store: LocalStore, how: str) -> None:
    for number in (1, 2, 3):
        go(make_collection(rows(number)), store)
    harm(store, how)
    for ask in (
        lambda: open_space("things/text", warehouse=store.address),
        lambda: verify_space(store, "things/text/v1", repair=True),
        lambda: roll_back(store, NAME),
        lambda: go(make_collection(rows(4)), store),
    ):
        with pytest.raises(ContractBroken, match="pointer to the served release") as refusal:
            ask()
        assert "`commonspace rollback things/text/v1 RELEASE`" in refusal.value.do
    with pytest.raises(NotPublished, match="kept: 1 to 3"):
        roll_back(store, NAME, 9)
    done = roll_back(store, NAME, 2, "CURRENT was lost")
    assert (done.release, done.before, announced(store, NAME)) == (2, 0, None)
    assert len(open_space("things/text", warehouse=store.address)) == 2
    assert verify_space(store, "things/text")["ok"]
    (report,) = go(make_collection(rows(4)), store)
    assert (report["state"], report["ledger"]["kept"]) == ("candidate", 2)
    assert report["held"]["reason"] == "CURRENT was lost"
    promote_by_hand(store, NAME)
    assert len(open_space("things/text", warehouse=store.address)) == 4


def test_a_space_that_never_served_anything_is_not_lost(
    make_collection: Any, store: LocalStore
) -> None:
    for count in (2, 3):
        collection = make_collection(rows(count))
        run = Run(new_run_id(), collection, store, quiet=True)
        run_collection(run, list(collection.space), promote=False, log=lambda _: None)
    with pytest.raises(NotPublished, match="nothing is served yet"):
        roll_back(store, NAME, 1)
    with pytest.raises(NotPublished, match="no promoted release"):
        open_space("things/text", warehouse=store.address)
    assert promote_by_hand(store, NAME).release == 2


def test_a_whole_pointer_is_not_overwritten(make_collection: Any, store: LocalStore) -> None:
    """It was mended between the look and the swap: `serve` sees what it is about to replace."""
    for number in (1, 2, 3):
        go(make_collection(rows(number)), store)
    pointer = current(store, NAME)
    with pytest.raises(CommonspaceError, match="has been promoted meanwhile"):
        _overwrite_pointer(store, NAME, 1, "")
    assert current(store, NAME) == pointer


def test_every_space_damaged_is_an_error_of_the_run(
    make_collection: Any, store: LocalStore
) -> None:
    go(make_collection(rows(2)), store)
    data = json.loads((store.root / current_key(NAME)).read_text())
    (store.root / current_key(NAME)).write_text(json.dumps({**data, "release": 9}))
    with pytest.raises(ContractBroken, match="checksum"):
        go(make_collection(rows(3)), store)
    assert len([name for name in store.folders(".runs/things") if name != "shards"]) == 1


def test_retention_removes_nothing_where_it_is_lost(
    make_collection: Any, store: LocalStore
) -> None:
    for number in range(1, 5):
        go(make_collection(rows(number), spaces=SPACES[:1]), store)
    roll_back(store, NAME, 1)
    (store.root / current_key(NAME)).unlink()
    with pytest.raises(ContractBroken, match="pointer to the served release is lost"):
        retain(store, NAME, last=1)
    assert numbers(store, NAME) == [1, 2, 3, 4]


def test_no_other_version_is_opened_instead(make_collection: Any, store: LocalStore) -> None:
    for version in (1, 2):
        space = {**SPACES[0], "version": version}
        for number in (1, 2):
            go(make_collection(rows(number), spaces=[space]), store)
    assert open_space("things/text", warehouse=store.address).name == "things/text/v2"
    (store.root / current_key(SpaceName("things", "text", 2))).unlink()
    with pytest.raises(ContractBroken, match="pointer to the served release is lost"):
        open_space("things/text", warehouse=store.address)
    assert {one["space"]: bool(one["problem"]) for one in catalog(store, [])} == {
        "things/text/v1": False, "things/text/v2": True,
    }  # fmt: skip
