"""Retention: what is kept, what goes, and that nobody loses what they rely on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.contract.layout import (
    parts_folder,
    pin_key,
    promotion_key,
    release_key,
    removal_key,
    retirement_key,
)
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished, UserMistake
from commonspace.pipeline.index import compaction
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.maintenance.drop import drop_version
from commonspace.pipeline.maintenance.retain import (
    UNCOMMITTED_SECONDS,
    orphaned_files,
    plan_retention,
    releases_to_keep,
    retain,
)
from commonspace.pipeline.maintenance.retain_all import retain_all
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.release import commit
from commonspace.pipeline.release.history import list_releases, load_manifests
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.markers import marker_bytes
from commonspace.pipeline.release.pins import pin_release, unpin_release
from commonspace.pipeline.release.pointer import Current, ServedRelease, load_current
from commonspace.pipeline.release.removal import (
    PendingRemoval,
    load_pending_removal,
    removable_files,
)
from commonspace.pipeline.release.retirement import retire_space, revive_space
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.storage.store import open_store
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.work import Work
from tests.support.checkout import REPOSITORY
from tests.support.command_line import CommandLine
from tests.support.warehouse import NAME, Warehouse, numbered_items

GATES: dict[str, Any] = {"gates": {"max_deleted_share": 1.0}}


def grown(warehouse: Warehouse, releases: int) -> None:
    """As many releases, each with one item more than the one before."""
    for number in range(1, releases + 1):
        warehouse.run(numbered_items(number))


def damage(warehouse: Warehouse, name: SpaceName, number: int) -> None:
    """Change one figure of a manifest."""
    data = warehouse.store.read(release_key(name, number))
    assert data is not None
    warehouse.store.put(
        release_key(name, number), data.to_pybytes().replace(b'"rows": ', b'"rows": 9')
    )


def check_whole(warehouse: Warehouse) -> None:
    """Every kept release has all its files, and there is nothing else."""
    assert warehouse.verify()["ok"]
    assert not orphaned_files(warehouse.store, NAME)
    assert load_pending_removal(warehouse.store, NAME) == PendingRemoval()
    for number in load_manifests(warehouse.store, NAME):
        assert len(warehouse.open().at(number).to_arrow()) == number


def test_what_is_kept() -> None:
    line = {n: n - 1 for n in range(1, 9)}
    assert releases_to_keep(line, served=8, pending=0, pinned=[], last=2) == {
        7: "one of the last 2",
        8: "current",
    }
    assert releases_to_keep(line, served=8, pending=0, pinned=[3, 99], last=1) == {
        3: "pinned",
        8: "current",
    }
    # After a rollback to 4: the way further back, and what is newest.
    assert list(releases_to_keep(line, served=4, pending=0, pinned=[], last=2)) == [3, 4, 7, 8]
    assert releases_to_keep(line, served=8, pending=2, pinned=[], last=1) == {
        2: "is being promoted",
        8: "current",
    }
    assert releases_to_keep({1: 0}, served=0, pending=0, pinned=[], last=5) == {
        1: "one of the last 5"
    }
    assert releases_to_keep({}, served=0, pending=0, pinned=[], last=5) == {}


def test_old_releases_go_and_pinned_ones_stay(warehouse: Warehouse) -> None:
    grown(warehouse, 6)
    pin_release(warehouse.store, NAME, 2, "paper")
    before = {p for p in warehouse.root.rglob("*") if p.is_file()}
    planned = plan_retention(warehouse.store, NAME, 2)
    assert {p for p in warehouse.root.rglob("*") if p.is_file()} == before
    done = retain(warehouse.store, NAME, 2)
    assert done == planned
    assert done.removed_releases == (1, 3, 4)
    assert len(done.removed_files) == 3
    assert release_numbers(warehouse.store, NAME) == [2, 5, 6]
    check_whole(warehouse)
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert [one.release for one in pointer.served] == [2, 5]
    with pytest.raises(NotPublished, match=r"no release 3 \(kept: 2, 5 to 6\)"):
        warehouse.open().at(3)
    assert retain(warehouse.store, NAME, 2).removed_releases == ()
    unpin_release(warehouse.store, NAME, 2)
    assert retain(warehouse.store, NAME, 2).removed_releases == (2,)


def test_a_reader_of_a_removed_release_is_told(warehouse: Warehouse) -> None:
    grown(warehouse, 2)
    old = warehouse.open().at(1)
    grown_reader = warehouse.open()
    warehouse.run(numbered_items(3))
    retain(warehouse.store, NAME, 1)
    for ask in (old.to_arrow, lambda: old.get(["i0000"]), lambda: old.search(id="i0000"),
                grown_reader.to_arrow, lambda: list(grown_reader.batches())):  # fmt: skip
        with pytest.raises(NotPublished, match=r"no release [12] \(kept: 3\)") as refusal:
            ask()
        assert refusal.value.do.startswith("Open the space again")
    with pytest.raises(NotPublished, match="kept: 3"):
        grown_reader.changes(3)


def test_a_reader_whose_table_went_on_is_told_to_open_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "STALL", timedelta(0))
    readers = []
    for number in (1, 2):
        warehouse.run([{**row, "text": f"{number}"} for row in numbered_items(3)])
        readers.append(warehouse.open())
    asked = readers.pop()
    assert asked.get(["i0000"])["found"].to_pylist() == [True]
    readers.append(asked)
    warehouse.run(numbered_items(3))
    time.sleep(0.1)
    retain(warehouse.store, NAME, 1)
    for reader in readers:  # one that has not looked yet, and one that has
        for ask in (
            lambda r=reader: r.get(["i0000"]),
            lambda r=reader: r.search(vector=[1.0] * 64),
        ):
            with pytest.raises(NotPublished, match="release 3 is served") as refusal:
                ask()
            assert refusal.value.do == "Open the space again."
    fresh = warehouse.open()
    shutil.rmtree(warehouse.root / "lancedb/things__text__v1.lance")
    with pytest.raises(ContractBroken, match="is gone") as broken:
        fresh.get(["i0000"])
    assert "--repair" in broken.value.do


def test_rolling_back_stays_possible(warehouse: Warehouse) -> None:
    grown(warehouse, 5)
    retain(warehouse.store, NAME, 3)
    for number in (4, 3):
        assert roll_back(warehouse.store, NAME).release == number
    with pytest.raises(NotPublished, match="no release 2"):
        roll_back(warehouse.store, NAME)
    retain(warehouse.store, NAME, 1)
    assert release_numbers(warehouse.store, NAME) == [3, 5]
    assert warehouse.run(numbered_items(5))["release"] == 6


def test_a_file_in_flight_stays_for_a_day(warehouse: Warehouse) -> None:
    grown(warehouse, 1)
    key = parts_folder(NAME) + "/all/all-of-a-run-that-has-not-committed.parquet"
    warehouse.store.put_if_absent(key, b"rows")
    assert orphaned_files(warehouse.store, NAME) == [key]
    assert retain(warehouse.store, NAME, 1).removed_files == ()
    then = time.time() - UNCOMMITTED_SECONDS - 60
    os.utime(warehouse.root / key, (then, then))
    assert retain(warehouse.store, NAME, 1).removed_files == (key,)
    check_whole(warehouse)


def test_what_a_killed_write_left_goes_after_a_day(warehouse: Warehouse) -> None:
    grown(warehouse, 1)
    folder = warehouse.root / "things/text/v1"
    old, young, other = (
        folder / name
        for name in (f"parts/all/.{'0' * 16}.tmp", f".{'a' * 16}.tmp", "releases/.mine.tmp")
    )
    shard = warehouse.root / f".runs/things/shards/text-v1-x/.{'b' * 16}.tmp"
    shard.parent.mkdir(parents=True)
    for path, days in ((old, 1.1), (young, 0.9), (other, 9), (shard, 8)):
        path.write_bytes(b"half a file")
        then = time.time() - days * 86_400
        os.utime(path, (then, then))
    assert warehouse.verify()["orphans"] == 0
    key = old.relative_to(warehouse.address).as_posix()
    assert (
        plan_retention(warehouse.store, NAME, 1).removed_files
        == retain(warehouse.store, NAME, 1).removed_files
        == (key,)
    )
    assert [path.exists() for path in (old, young, other)] == [False, True, True]
    warehouse.run(numbered_items(1))
    assert not shard.exists()
    check_whole(warehouse)


def test_the_tables_old_versions_go_too(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "STALL", timedelta(seconds=2))
    grown(warehouse, 3)
    time.sleep(2.2)
    warehouse.run(numbered_items(6))
    reader = warehouse.open()
    warehouse.run(numbered_items(7))
    retain(warehouse.store, NAME, 2)
    left = [v["version"] for v in connect(warehouse.address).open_table(NAME.table).list_versions()]
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert pointer.table_version in left
    assert min(left) > 1
    assert reader.get(["i0005"])["found"].to_pylist() == [True]  # release 4 is kept
    assert len(warehouse.open().search("text", k=50)) == 7


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
    grown(warehouse, 3)
    published_as_before(warehouse)
    real, removed = commit.create_release, []

    def slow(*arguments: Any) -> bool:
        if not removed:  # between the part, which was there already, and the manifest
            removed.extend(retain(warehouse.store, NAME, 1).removed_files)
        return real(*arguments)

    monkeypatch.setattr(commit, "create_release", slow)
    collection = warehouse.collection(numbered_items(1), **GATES)
    told = run_stage("publish", collection, warehouse.store, "back", space="text/v1")
    released = load_manifests(warehouse.store, NAME)[told["release"]]
    assert set(removed) & {part.key for part in released.parts}, "the part was not the old one"
    collection = warehouse.collection(numbered_items(1), **GATES)
    run_stage("promote", collection, warehouse.store, "back", space="text/v1")
    assert len(warehouse.open()) == 1
    assert warehouse.verify()["ok"]


def test_a_condemned_name_is_not_given_again(warehouse: Warehouse) -> None:
    """`retain` was killed once it had announced what it removes."""
    grown(warehouse, 3)
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


def test_a_release_that_is_turned_to_is_spared(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody pins and rolls back after `retain` has decided and before it has announced."""
    grown(warehouse, 5)
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
    grown(warehouse, 1)
    collection = warehouse.collection(numbered_items(9))
    run_stage("pull", collection, warehouse.store, "slow")
    run_stage("plan", collection, warehouse.store, "slow", space="text/v1")
    run_stage("encode", collection, warehouse.store, "slow", space="text/v1", shards=(0,))
    warehouse.run(numbered_items(2))
    warehouse.run(numbered_items(3))
    retain(warehouse.store, NAME, 1)
    warehouse.collection(numbered_items(9))
    for stage in ("validate", "publish", "promote"):
        told = run_stage(stage, collection, warehouse.store, "slow", space="text/v1")
    assert told["promoted"] is True
    assert len(warehouse.open()) == 9
    assert warehouse.verify()["ok"]


def test_every_space_as_its_file_says(warehouse: Warehouse) -> None:
    grown(warehouse, 3)
    other = warehouse.collection(numbered_items(1), name="others")
    warehouse.run(other)
    collection = warehouse.collection(numbered_items(3))
    file = Path(collection.path)
    file.write_text(file.read_text().replace("[collection]", "[collection]\nkeep_releases = 2"))
    from commonspace.pipeline.config.files import load_collection

    answers = retain_all(warehouse.store, [load_collection(file), other], dry_run=True)
    assert [(a["space"], a["removed"]) for a in answers] == [
        ("others/text/v1", []), ("things/text/v1", [1]),
    ]  # fmt: skip
    assert release_numbers(warehouse.store, NAME) == [1, 2, 3]
    with pytest.raises(NotPublished, match="did you mean"):
        retain_all(warehouse.store, [], "thing")
    (answer,) = retain_all(warehouse.store, [], "things", keep=1)
    assert answer["removed"] == [1, 2]


def test_a_space_whose_owner_is_not_heard_is_left_out(
    warehouse: Warehouse, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown(warehouse, 2)
    warehouse.run(numbered_items(1), name="others")
    folder = warehouse.root.parent
    (folder / "things.toml").write_text("[collection]\nkeep_releases = 500\noops")
    code, out, err = command("retain", "--json")
    assert code == 0
    assert [(one["space"], one["removed"], bool(one["left_out"])) for one in json.loads(out)] == [
        ("others/text/v1", [], False), ("things/text/v1", [], True),
    ]  # fmt: skip
    assert "things/text/v1 is left out: no collection file" in err
    assert "left out" in command("retain")[1]
    code, _, err = command("retain", "things/text")
    assert (code, "--keep" in err) == (2, True)
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(folder / "nowhere"))
    assert command("retain")[0] == 0
    assert release_numbers(warehouse.store, NAME) == [1, 2]
    assert retain_all(warehouse.store, [], keep=1)[1]["removed"] == [1]


def test_a_space_that_fails_does_not_stop_the_others(
    warehouse: Warehouse, command: CommandLine
) -> None:
    for count in (1, 2):
        for name in ("others", "quiet", "things"):
            warehouse.run(numbered_items(count), name=name)
    others, quiet = (SpaceName(name, "text", 1) for name in ("others", "quiet"))
    damage(warehouse, others, 1)
    retire_space(warehouse.store, quiet)
    warehouse.store.put(retirement_key(quiet), b"[]")
    code, out, err = command("retain", "--keep", "1", "--retired", "--json")
    assert code == 1
    first, second, last = json.loads(out)
    assert (first["error"], first["item"]) == ("ContractBroken", release_key(others, 1))
    assert "delete it, where its release is neither served nor needed" in first["do"]
    assert (second["error"], second["removed"]) == ("ContractBroken", [])
    assert last["removed"] == [1]
    assert "others/text/v1 failed: others/text/v1/releases/000001.json: is damaged" in err
    assert "failed" in command("retain", "--keep", "1")[1]
    assert release_numbers(warehouse.store, others) == [1, 2]
    warehouse.store.delete(release_key(others, 1))  # as advised
    assert "error" not in retain_all(warehouse.store, [], "others", keep=1)[0]
    assert warehouse.verify("others/text")["ok"]


def test_a_damaged_old_manifest_stops_only_what_needs_it(warehouse: Warehouse) -> None:
    grown(warehouse, 3)
    warehouse.run(numbered_items(4), promote=False)
    damage(warehouse, NAME, 1)
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
    damage(warehouse, NAME, 6)
    with pytest.raises(ContractBroken, match=r"000006\.json"):  # not the older candidate
        promote_by_hand(warehouse.store, NAME)
    report = warehouse.run(numbered_items(6), promote=False)
    assert report["release"] == 7
    assert promote_by_hand(warehouse.store, NAME).release == 7


def test_an_adopted_release_that_is_removed_is_made_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run finds its equal in a superseded candidate, which `retain` removes just then."""
    grown(warehouse, 1)
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


def test_what_was_served_lately_stays_in_the_table(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that was made long ago may have been served until just now."""
    monkeypatch.setattr(compaction, "READER_GRACE", timedelta(seconds=2))
    monkeypatch.setattr(compaction, "STALL", timedelta(seconds=3))
    monkeypatch.setattr(compaction, "VERSIONS_BETWEEN_COMPACTIONS", 1)
    grown(warehouse, 1)
    reader = warehouse.open()
    time.sleep(4)
    warehouse.run(numbered_items(2))
    assert reader.get(["i0000"])["found"].to_pylist() == [True]
    first = connect(warehouse.address).open_table(NAME.table).list_versions()[0]["version"]
    time.sleep(4)
    warehouse.run(numbered_items(3))
    left = [v["version"] for v in connect(warehouse.address).open_table(NAME.table).list_versions()]
    assert min(left) > first
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert {pointer.table_version, pointer.served[-1].table_version} <= set(left)


def test_what_was_served_at_a_moment() -> None:
    def at(day: int) -> str:
        return datetime(2026, 1, day, tzinfo=UTC).isoformat(timespec="seconds")

    pointer = Current(
        3, "t", 30, at(20), "run", (ServedRelease(1, 10, at(1)), ServedRelease(2, 20, at(10)))
    )
    for day, lately in ((25, [30]), (15, [20, 30]), (10, [20, 30]), (9, [10, 20, 30])):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        assert compaction.versions_served_since(pointer, moment) == lately
    assert compaction.versions_served_since(pointer, datetime(2025, 12, 31, tzinfo=UTC)) == []


def test_the_end_of_summer_time_makes_nothing_younger(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    made = (now - timedelta(days=5)).timestamp()

    class Table:
        def list_versions(self) -> list[dict[str, Any]]:  # as LanceDB: naive and local
            return [{"version": 1, "timestamp": datetime.fromtimestamp(made)}]

    def yearday(days: int) -> int:
        return min((now - timedelta(days=days)).timetuple().tm_yday, 365)

    with monkeypatch.context() as patched:
        patched.setenv("TZ", f"WINTER0SUMMER-1,J{yearday(90)},J{yearday(3)}")
        time.tzset()
        age = compaction.age_of_oldest(Table(), {1})
    time.tzset()
    assert timedelta(days=5) <= age - compaction.STALL < timedelta(days=5, minutes=5)


def test_a_retired_version_is_removed_on_request_only(warehouse: Warehouse) -> None:
    grown(warehouse, 2)
    pin_release(warehouse.store, NAME, 1)
    retire_space(warehouse.store, NAME, "over")
    assert retain_all(warehouse.store, [], keep=5)[0]["removed"] == []
    (answer,) = retain_all(warehouse.store, [], keep=1, retired=True)
    assert answer["kept"] == {"1": "pinned", "2": "current"}
    with pytest.raises(UserMistake, match="pinned releases are kept: 1"):
        drop_version(warehouse.store, NAME)
    unpin_release(warehouse.store, NAME, 1)
    assert retain_all(warehouse.store, [], retired=True, dry_run=True)[0]["removed"] == [1, 2]
    assert release_numbers(warehouse.store, NAME) == [1, 2]
    assert retain_all(warehouse.store, [], retired=True)[0]["removed"] == [1, 2]
    assert warehouse.store.list(str(NAME)) == [retirement_key(NAME)]
    assert NAME.table not in connect(warehouse.address).list_tables().tables
    assert retain_all(warehouse.store, [], retired=True) == []
    with pytest.raises(NotPublished, match="no promoted release"):
        warehouse.open()
    with pytest.raises(UserMistake, match="retired"):
        warehouse.run(numbered_items(1))


def test_an_interrupted_drop_cannot_be_taken_back(warehouse: Warehouse) -> None:
    """LanceDB fails in the middle; its words come as one of our errors."""
    grown(warehouse, 1)
    retire_space(warehouse.store, NAME)
    database = warehouse.root / "lancedb"
    shutil.move(database, database.with_name("aside"))
    database.write_text("a file stands where the database was")
    (answer,) = retain_all(warehouse.store, [], retired=True)
    assert (answer["error"], answer["item"]) == ("ContractBroken", "things/text/v1")
    with pytest.raises(UserMistake, match="its rows were removed"):
        revive_space(warehouse.store, NAME)
    database.unlink()
    shutil.move(database.with_name("aside"), database)
    assert retain_all(warehouse.store, [], retired=True)[0]["removed"] == [1]
    assert warehouse.store.list(str(NAME)) == [retirement_key(NAME)]


# Stops the process before the n-th file it puts or removes in the warehouse.
KILLER = """
import os, signal, sys
left = int(sys.argv.pop(1))
def hook(event, arguments):
    global left
    if event not in {"os.link", "os.rename", "os.remove"}:
        return
    name = str(arguments[event != "os.remove"])
    if "warehouse" in name and not os.path.basename(name).startswith("."):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from commonspace.pipeline.storage.store import open_store
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.maintenance.retain import retain
retain(open_store(sys.argv[1]), SpaceName("things", "text", 1), 1)
"""


@pytest.mark.parametrize(
    "point", [pytest.param(n, marks=() if n in (3, 5) else pytest.mark.crash) for n in range(1, 9)]
)
def test_killed_at_any_change(warehouse: Warehouse, point: int) -> None:
    """The announcement, two manifests, two parts, its withdrawal, and the pointer's history."""
    grown(warehouse, 3)
    answer = subprocess.run(
        [sys.executable, "-c", KILLER, str(point), warehouse.address],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == (-9 if point < 8 else 0), answer.stderr
    assert warehouse.verify()["ok"]
    retain(warehouse.store, NAME, 1)
    assert release_numbers(warehouse.store, NAME) == [3]
    check_whole(warehouse)
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert pointer.served == ()


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
    grown(warehouse, 1)
    pin_release(warehouse.store, NAME, 1)
    for damage in (b"", b"[]", b'{"release"', b'{"what": 1}', bytes([0xFF])):
        warehouse.store.put(key, damage)
        with pytest.raises(ContractBroken, match="is damaged") as refusal:
            ask(warehouse.store)
        assert refusal.value.item == key


def test_a_candidate_may_be_promoted_beside_retention(warehouse: Warehouse) -> None:
    grown(warehouse, 2)
    warehouse.run(numbered_items(3), promote=False)
    retain(warehouse.store, NAME, 1)
    assert release_numbers(warehouse.store, NAME) == [2, 3]
    promote_by_hand(warehouse.store, NAME)
    assert len(warehouse.open()) == 3


def test_what_is_announced_is_plain_json(warehouse: Warehouse) -> None:
    grown(warehouse, 1)
    (release,) = load_manifests(warehouse.store, NAME).values()
    pending = PendingRemoval(frozenset({2, 1}), frozenset(removable_files(release)))
    assert json.loads(marker_bytes(pending))["releases"] == [1, 2]
    warehouse.store.put(removal_key(NAME), marker_bytes(pending))
    assert load_pending_removal(warehouse.store, NAME) == pending


def test_a_life_in_a_bucket(warehouse: Warehouse, bucket: str) -> None:
    warehouse = Warehouse(warehouse.folder, open_store(bucket))
    grown(warehouse, 4)
    warehouse.run(numbered_items(5), promote=False)
    assert promote_by_hand(warehouse.store, NAME).release == 5
    assert roll_back(warehouse.store, NAME).release == 4
    pin_release(warehouse.store, NAME, 1)
    assert retain(warehouse.store, NAME, 1).removed_releases == (2, 3)
    assert [(one.number, one.state) for one in list_releases(warehouse.store, NAME)] == [
        (1, "retired"), (4, "current"), (5, "retired"),
    ]  # fmt: skip
    check_whole(warehouse)
    assert warehouse.open().changes(1).added["id"].to_pylist() == ["i0001", "i0002", "i0003"]
    unpin_release(warehouse.store, NAME, 1)
    retire_space(warehouse.store, NAME)
    retain_all(warehouse.store, [], retired=True)
    assert warehouse.store.list(str(NAME)) == [retirement_key(NAME)]


RETAINING = """
import sys
from commonspace.pipeline.storage.store import open_store
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict
from commonspace.pipeline.maintenance.retain import retain
rounds = 0
while True:
    retain(open_store(sys.argv[1]), SpaceName("things", "text", 1), 1)
    rounds += 1
    print(rounds, flush=True)
"""


@pytest.mark.crash
def test_runs_beside_retention_and_a_reader(warehouse: Warehouse) -> None:
    """Two states take turns, so that each run needs parts that retention is removing."""
    grown(warehouse, 2)
    with subprocess.Popen(
        [sys.executable, "-c", RETAINING, warehouse.address],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    ) as retaining:  # fmt: skip
        assert retaining.stdout is not None
        assert retaining.stdout.readline() == "1\n"
        for turn in range(30):
            count = turn % 2 + 1
            assert "error" not in warehouse.run(numbered_items(count), **GATES)
            assert len(warehouse.open().search("text", k=9)) == count
            assert len(warehouse.open().to_arrow()) == count
            assert warehouse.verify()["ok"]
        assert retaining.poll() is None
        retaining.kill()
    retain(warehouse.store, NAME, 1)
    assert warehouse.verify()["ok"]
    assert len(release_numbers(warehouse.store, NAME)) == 1
    assert not orphaned_files(warehouse.store, NAME)
