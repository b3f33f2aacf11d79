"""A pending removal is announced: nobody loses a release or a file that comes back meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from commonspace.pipeline.contract.layout import (
    pin_key,
    promotion_key,
    release_key,
    removal_key,
    retirement_key,
)
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import Conflict, ContractBroken
from commonspace.pipeline.maintenance.retain import orphaned_files, plan_retention, retain
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.release import commit
from commonspace.pipeline.release.history import list_releases, load_manifests
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.markers.marker import marker_bytes
from commonspace.pipeline.release.markers.pins import pin_release
from commonspace.pipeline.release.markers.removal import (
    PendingRemoval,
    load_pending_removal,
    removable_files,
)
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.work import Work
from tests.support.retained import check_whole, damage_manifest
from tests.support.warehouse import NAME, Warehouse, numbered_items

GATES: dict[str, Any] = {"gates": {"max_deleted_share": 1.0}}


def published_as_before(warehouse: Warehouse) -> Work:
    """A run that is about to write a part again that only release 1 names."""
    work = warehouse.work(warehouse.collection(numbered_items(1), **GATES), "back")
    pull_stage(work.run)
    encode_stage(work, list(plan_stage(work).shards))
    validate_stage(work)
    return work


def test_a_part_that_comes_back_is_not_lost(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classic race: a run finds an old part there, `retain` removes it, the run names it."""
    warehouse.publish_releases(3)
    published_as_before(warehouse)
    real, removed = commit.create_release, []

    def slow(*arguments: Any) -> bool:
        if not removed:  # between the part, which was there already, and the manifest
            removed.extend(retain(warehouse.store, NAME, 1).removed_files)
        return real(*arguments)

    monkeypatch.setattr(commit, "create_release", slow)
    collection = warehouse.collection(numbered_items(1), **GATES)
    reported = run_stage("publish", collection, warehouse.store, "back", space="text/v1")
    released = load_manifests(warehouse.store, NAME)[reported["release"]]
    assert set(removed) & {part.key for part in released.parts}, "the part was not the old one"
    collection = warehouse.collection(numbered_items(1), **GATES)
    run_stage("promote", collection, warehouse.store, "back", space="text/v1")
    assert len(warehouse.open()) == 1
    assert warehouse.verify()["ok"]


def test_a_name_about_to_be_removed_is_not_given_again(warehouse: Warehouse) -> None:
    """`retain` was killed once it had announced what it removes."""
    warehouse.publish_releases(3)
    (part,) = load_manifests(warehouse.store, NAME)[1].parts
    plan = plan_retention(warehouse.store, NAME, 1)
    warehouse.store.put(
        removal_key(NAME),
        marker_bytes(PendingRemoval(frozenset({1, 2}), frozenset(plan.removed_files))),
    )
    with pytest.raises(Conflict, match="is being removed"):
        pin_release(warehouse.store, NAME, 1)
    with pytest.raises(Conflict, match="is being removed"):
        roll_back(warehouse.store, NAME)
    assert load_pending_promotion(warehouse.store, NAME) is None
    report = warehouse.run(numbered_items(1), **GATES)
    assert report["state"] == "promoted"
    (again,) = warehouse.open().release.parts
    assert (again.sha256, again.key) == (part.sha256, part.key.replace(".parquet", "-2.parquet"))
    retain(warehouse.store, NAME, 1)
    assert not list_releases(warehouse.store, NAME)[0].pinned
    assert warehouse.verify()["ok"]
    assert not orphaned_files(warehouse.store, NAME)


def test_a_release_that_is_promoted_meanwhile_is_kept(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody pins and rolls back after `retain` has decided and before it has announced."""
    warehouse.publish_releases(5)
    real = type(warehouse.store).put

    def announce_late(self: Any, key: str, data: Any) -> None:
        if key == removal_key(NAME):
            monkeypatch.setattr(type(warehouse.store), "put", real)
            pin_release(warehouse.store, NAME, 2)
            roll_back(warehouse.store, NAME, 3)
        real(self, key, data)

    monkeypatch.setattr(type(warehouse.store), "put", announce_late)
    done = retain(warehouse.store, NAME, 1)
    assert done.removed_releases == (1, 4)
    assert release_numbers(warehouse.store, NAME) == [2, 3, 5]
    assert len(warehouse.open()) == 3
    check_whole(warehouse)


def test_a_run_whose_base_was_removed_plans_again(warehouse: Warehouse) -> None:
    warehouse.publish_releases(1)
    collection = warehouse.collection(numbered_items(9))
    run_stage("pull", collection, warehouse.store, "slow")
    run_stage("plan", collection, warehouse.store, "slow", space="text/v1")
    run_stage("encode", collection, warehouse.store, "slow", space="text/v1", shards=(0,))
    warehouse.run(numbered_items(2))
    warehouse.run(numbered_items(3))
    retain(warehouse.store, NAME, 1)
    warehouse.collection(numbered_items(9))
    for stage in ("validate", "publish", "promote"):
        reported = run_stage(stage, collection, warehouse.store, "slow", space="text/v1")
    assert reported["promoted"] is True
    assert len(warehouse.open()) == 9
    assert warehouse.verify()["ok"]


def test_a_damaged_old_manifest_stops_only_what_needs_it(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    warehouse.run(numbered_items(4), promote=False)
    damage_manifest(warehouse, NAME, 1)
    checked = warehouse.verify()
    assert checked["problems"] == [f"{release_key(NAME, 1)}: is damaged: its checksum "
                                   "does not match"]  # fmt: skip
    assert (checked["ok"], checked["orphans"]) == (False, None)
    assert promote_by_hand(warehouse.store, NAME).release == 4
    assert roll_back(warehouse.store, NAME).release == 3
    assert roll_back(warehouse.store, NAME).release == 2
    with pytest.raises(ContractBroken, match=r"000001\.json"):
        roll_back(warehouse.store, NAME)
    with pytest.raises(ContractBroken, match="nothing of the space is removed"):
        retain(warehouse.store, NAME, 1)
    warehouse.run(numbered_items(5), promote=False)
    warehouse.run(numbered_items(6), promote=False)
    damage_manifest(warehouse, NAME, 6)
    with pytest.raises(ContractBroken, match=r"000006\.json"):  # not the older candidate
        promote_by_hand(warehouse.store, NAME)
    report = warehouse.run(numbered_items(6), promote=False)
    assert report["release"] == 7
    assert promote_by_hand(warehouse.store, NAME).release == 7


def test_an_adopted_release_that_is_removed_is_made_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run finds its equal in a superseded candidate, which `retain` removes just then."""
    warehouse.publish_releases(1)
    for count in (2, 3):
        warehouse.run(numbered_items(count), promote=False)
    real, removed = commit.require_not_in_removal, []

    def late(*arguments: Any) -> None:
        if not removed:
            removed.extend(retain(warehouse.store, NAME, 1).removed_releases)
        real(*arguments)

    monkeypatch.setattr(commit, "require_not_in_removal", late)
    report = warehouse.run(numbered_items(2))
    assert removed == [2]
    assert (report["state"], report["release"]) == ("promoted", 4)
    assert len(warehouse.open()) == 2
    assert warehouse.verify()["ok"]


@pytest.mark.parametrize(
    ("key", "ask"),
    [
        (removal_key(NAME), lambda warehouse: retain(warehouse.store, NAME, 1)),
        (promotion_key(NAME), lambda warehouse: promote_by_hand(warehouse.store, NAME)),
        (retirement_key(NAME), Warehouse.open),
        (pin_key(NAME, 1), lambda warehouse: retain(warehouse.store, NAME, 1)),
    ],
)
def test_a_damaged_mark_is_named(
    warehouse: Warehouse, key: str, ask: Callable[[Warehouse], Any]
) -> None:
    warehouse.publish_releases(1)
    pin_release(warehouse.store, NAME, 1)
    for data in (b"", b"[]", b'{"release"', b'{"what": 1}', bytes([0xFF])):
        warehouse.store.put(key, data)
        with pytest.raises(ContractBroken, match="is damaged") as refusal:
            ask(warehouse)
        assert refusal.value.item == key


def test_what_is_announced_is_plain_json(warehouse: Warehouse) -> None:
    warehouse.publish_releases(1)
    (release,) = load_manifests(warehouse.store, NAME).values()
    pending = PendingRemoval(frozenset({2, 1}), frozenset(removable_files(release)))
    assert json.loads(marker_bytes(pending))["releases"] == [1, 2]
    warehouse.store.put(removal_key(NAME), marker_bytes(pending))
    assert load_pending_removal(warehouse.store, NAME) == pending
