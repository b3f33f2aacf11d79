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

from commonspace.pipeline.cli.app import main
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
from commonspace.pipeline.index import compaction as table_upkeep
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.maintenance.drop import drop
from commonspace.pipeline.maintenance.retain import (
    IN_FLIGHT,
    orphans,
    releases_to_keep,
    retain,
    retention,
)
from commonspace.pipeline.maintenance.retain_all import retain_all
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.promote import announced
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.release import commit
from commonspace.pipeline.release.history import list_releases, manifests
from commonspace.pipeline.release.manifest import numbers
from commonspace.pipeline.release.markers import marker_bytes
from commonspace.pipeline.release.pins import pin, unpin
from commonspace.pipeline.release.pointer import Current, ServedRelease, current
from commonspace.pipeline.release.removal import PendingRemoval, files_of, pending_removal
from commonspace.pipeline.release.retirement import retire, revive
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.store import Store, open_store
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.work import Run, Work
from tests.support.checkout import REPOSITORY

NAME = SpaceName("things", "text", 1)
GATES: dict[str, Any] = {"gates": {"max_deleted_share": 1.0}}


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"i{n:03}", "text": f"text of item {n}"} for n in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "warehouse"))


def go(collection: Any, store: Store, **options: Any) -> dict[str, Any]:
    run = Run(new_run_id(), collection, store, quiet=True)
    return run_collection(run, list(collection.space), log=lambda _: None, **options)[0]


def opened(store: Store) -> Space:
    return open_space("things/text", warehouse=store.address)


def grown(make_collection: Any, store: Store, releases: int) -> None:
    """As many releases, each with one item more than the one before."""
    for number in range(1, releases + 1):
        go(make_collection(rows(number)), store)


def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """What the command line answers: exit code, output, messages."""
    monkeypatch.setattr(sys, "argv", ["commonspace", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0), *capsys.readouterr()


def damage(store: Store, name: SpaceName, number: int) -> None:
    """Change one figure of a manifest."""
    data = store.read(release_key(name, number))
    assert data is not None
    store.put(release_key(name, number), data.to_pybytes().replace(b'"rows": ', b'"rows": 9'))


def check_whole(store: Store) -> None:
    """Every kept release has all its files, and there is nothing else."""
    assert verify_space(store, "things/text")["ok"]
    assert not orphans(store, NAME)
    assert pending_removal(store, NAME) == PendingRemoval()
    for number in manifests(store, NAME):
        assert len(opened(store).at(number).to_arrow()) == number


def test_what_is_kept() -> None:
    line = {n: n - 1 for n in range(1, 9)}
    assert releases_to_keep(line, 8, 0, [], 2) == {7: "one of the last 2", 8: "current"}
    assert releases_to_keep(line, 8, 0, [3, 99], 1) == {3: "pinned", 8: "current"}
    # After a rollback to 4: the way further back, and what is newest.
    assert list(releases_to_keep(line, 4, 0, [], 2)) == [3, 4, 7, 8]
    assert releases_to_keep(line, 8, 2, [], 1) == {2: "is being promoted", 8: "current"}
    assert releases_to_keep({1: 0}, 0, 0, [], 5) == {1: "one of the last 5"}
    assert releases_to_keep({}, 0, 0, [], 5) == {}


def test_old_releases_go_and_pinned_ones_stay(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 6)
    pin(store, NAME, 2, "paper")
    before = {p for p in Path(store.address).rglob("*") if p.is_file()}
    planned = retention(store, NAME, 2)
    assert {p for p in Path(store.address).rglob("*") if p.is_file()} == before
    done = retain(store, NAME, 2)
    assert done == planned
    assert done.releases == (1, 3, 4)
    assert len(done.files) == 3
    assert numbers(store, NAME) == [2, 5, 6]
    check_whole(store)
    pointer = current(store, NAME)
    assert pointer is not None
    assert [one.release for one in pointer.served] == [2, 5]
    with pytest.raises(NotPublished, match=r"no release 3 \(kept: 2, 5 to 6\)"):
        opened(store).at(3)
    assert retain(store, NAME, 2).releases == ()
    unpin(store, NAME, 2)
    assert retain(store, NAME, 2).releases == (2,)


def test_a_reader_of_a_removed_release_is_told(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 2)
    old = opened(store).at(1)
    grown_reader = opened(store)
    go(make_collection(rows(3)), store)
    retain(store, NAME, 1)
    for ask in (old.to_arrow, lambda: old.get(["i000"]), lambda: old.search(id="i000"),
                grown_reader.to_arrow, lambda: list(grown_reader.batches())):  # fmt: skip
        with pytest.raises(NotPublished, match=r"no release [12] \(kept: 3\)") as refusal:
            ask()
        assert refusal.value.do.startswith("Open the space again")
    with pytest.raises(NotPublished, match="kept: 3"):
        grown_reader.changes(3)


def test_a_reader_whose_table_went_on_is_told_to_open_again(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_upkeep, "STALL", timedelta(0))
    readers = []
    for number in (1, 2):
        go(make_collection([{**row, "text": f"{number}"} for row in rows(3)]), store)
        readers.append(opened(store))
    asked = readers.pop()
    assert asked.get(["i000"])["found"].to_pylist() == [True]
    readers.append(asked)
    go(make_collection(rows(3)), store)
    time.sleep(0.1)
    retain(store, NAME, 1)
    for reader in readers:  # one that has not looked yet, and one that has
        for ask in (lambda r=reader: r.get(["i000"]), lambda r=reader: r.search(vector=[1.0] * 64)):
            with pytest.raises(NotPublished, match="release 3 is served") as refusal:
                ask()
            assert refusal.value.do == "Open the space again."
    fresh = opened(store)
    shutil.rmtree(Path(store.address) / "lancedb/things__text__v1.lance")
    with pytest.raises(ContractBroken, match="is gone") as broken:
        fresh.get(["i000"])
    assert "--repair" in broken.value.do


def test_rolling_back_stays_possible(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 5)
    retain(store, NAME, 3)
    for number in (4, 3):
        assert roll_back(store, NAME).release == number
    with pytest.raises(NotPublished, match="no release 2"):
        roll_back(store, NAME)
    retain(store, NAME, 1)
    assert numbers(store, NAME) == [3, 5]
    assert go(make_collection(rows(5)), store)["release"] == 6


def test_a_file_in_flight_stays_for_a_day(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 1)
    key = parts_folder(NAME) + "/all/all-of-a-run-that-has-not-committed.parquet"
    store.put_if_absent(key, b"rows")
    assert orphans(store, NAME) == [key]
    assert retain(store, NAME, 1).files == ()
    then = time.time() - IN_FLIGHT - 60
    os.utime(Path(store.address) / key, (then, then))
    assert retain(store, NAME, 1).files == (key,)
    check_whole(store)


def test_what_a_killed_write_left_goes_after_a_day(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 1)
    folder = Path(store.address) / "things/text/v1"
    old, young, other = (
        folder / name
        for name in (f"parts/all/.{'0' * 16}.tmp", f".{'a' * 16}.tmp", "releases/.mine.tmp")
    )
    shard = Path(store.address) / f".runs/things/shards/text-v1-x/.{'b' * 16}.tmp"
    shard.parent.mkdir(parents=True)
    for path, days in ((old, 1.1), (young, 0.9), (other, 9), (shard, 8)):
        path.write_bytes(b"half a file")
        then = time.time() - days * 86_400
        os.utime(path, (then, then))
    assert verify_space(store, "things/text")["orphans"] == 0
    key = old.relative_to(store.address).as_posix()
    assert retention(store, NAME, 1).files == retain(store, NAME, 1).files == (key,)
    assert [path.exists() for path in (old, young, other)] == [False, True, True]
    go(make_collection(rows(1)), store)
    assert not shard.exists()
    check_whole(store)


def test_the_tables_old_versions_go_too(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_upkeep, "STALL", timedelta(seconds=2))
    grown(make_collection, store, 3)
    time.sleep(2.2)
    go(make_collection(rows(6)), store)
    reader = opened(store)
    go(make_collection(rows(7)), store)
    retain(store, NAME, 2)
    left = [v["version"] for v in connect(store.address).open_table(NAME.table).list_versions()]
    pointer = current(store, NAME)
    assert pointer is not None
    assert pointer.table_version in left
    assert min(left) > 1
    assert reader.get(["i005"])["found"].to_pylist() == [True]  # release 4 is kept
    assert len(opened(store).search("text", k=50)) == 7


def published_as_before(make_collection: Any, store: Store) -> Work:
    """A run that is about to write a part again that only release 1 names."""
    work = Work(Run("back", make_collection(rows(1), **GATES), store, quiet=True),
                make_collection(rows(1), **GATES).space[0])  # fmt: skip
    pull_stage(work.run)
    encode_stage(work, plan_stage(work)["shards"])
    validate_stage(work)
    return work


def test_a_part_that_comes_back_is_not_lost(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classic race: a run finds an old part there, `retain` removes it, the run names it."""
    grown(make_collection, store, 3)
    published_as_before(make_collection, store)
    real, removed = commit.create_release, []

    def slow(*arguments: Any) -> bool:
        if not removed:  # between the part, which was there already, and the manifest
            removed.extend(retain(store, NAME, 1).files)
        return real(*arguments)

    monkeypatch.setattr(commit, "create_release", slow)
    told = run_stage("publish", make_collection(rows(1), **GATES), store, "back", "text/v1",
                     None, ())  # fmt: skip
    released = manifests(store, NAME)[told["release"]]
    assert set(removed) & {part.key for part in released.parts}, "the part was not the old one"
    run_stage("promote", make_collection(rows(1), **GATES), store, "back", "text/v1", None, ())
    assert len(opened(store)) == 1
    assert verify_space(store, "things/text")["ok"]


def test_a_condemned_name_is_not_given_again(make_collection: Any, store: Store) -> None:
    """`retain` was killed once it had announced what it removes."""
    grown(make_collection, store, 3)
    (part,) = manifests(store, NAME)[1].parts
    plan = retention(store, NAME, 1)
    store.put(
        removal_key(NAME), marker_bytes(PendingRemoval(frozenset({1, 2}), frozenset(plan.files)))
    )
    with pytest.raises(Conflict, match="is being removed"):
        pin(store, NAME, 1)
    with pytest.raises(Conflict, match="is being removed"):
        roll_back(store, NAME)
    assert announced(store, NAME) is None
    report = go(make_collection(rows(1), **GATES), store)
    assert report["state"] == "promoted"
    (again,) = opened(store).release.parts
    assert (again.sha256, again.key) == (part.sha256, part.key.replace(".parquet", "-2.parquet"))
    retain(store, NAME, 1)
    assert not list_releases(store, NAME)[0].pinned
    assert verify_space(store, "things/text")["ok"]
    assert not orphans(store, NAME)


def test_a_release_that_is_turned_to_is_spared(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody pins and rolls back after `retain` has decided and before it has announced."""
    grown(make_collection, store, 5)
    real = type(store).put

    def announce_late(self: Any, key: str, data: Any) -> None:
        if key == removal_key(NAME):
            monkeypatch.setattr(type(store), "put", real)
            pin(store, NAME, 2)
            roll_back(store, NAME, 3)
        real(self, key, data)

    monkeypatch.setattr(type(store), "put", announce_late)
    done = retain(store, NAME, 1)
    assert done.releases == (1, 4)
    assert numbers(store, NAME) == [2, 3, 5]
    assert len(opened(store)) == 3
    check_whole(store)


def test_a_run_whose_base_was_removed_plans_again(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 1)
    collection = make_collection(rows(9))
    run_stage("pull", collection, store, "slow", None, None, ())
    run_stage("plan", collection, store, "slow", "text/v1", None, ())
    run_stage("encode", collection, store, "slow", "text/v1", None, (0,))
    go(make_collection(rows(2)), store)
    go(make_collection(rows(3)), store)
    retain(store, NAME, 1)
    make_collection(rows(9))
    for stage in ("validate", "publish", "promote"):
        told = run_stage(stage, collection, store, "slow", "text/v1", None, ())
    assert told["promoted"] is True
    assert len(opened(store)) == 9
    assert verify_space(store, "things/text")["ok"]


def test_every_space_as_its_file_says(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 3)
    other = make_collection(rows(1), name="others")
    go(other, store)
    collection = make_collection(rows(3))
    file = Path(collection.path)
    file.write_text(file.read_text().replace("[collection]", "[collection]\nkeep_releases = 2"))
    from commonspace.pipeline.config.files import load_collection

    answers = retain_all(store, [load_collection(file), other], dry_run=True)
    assert [(a["space"], a["removed"]) for a in answers] == [
        ("others/text/v1", []), ("things/text/v1", [1]),
    ]  # fmt: skip
    assert numbers(store, NAME) == [1, 2, 3]
    with pytest.raises(NotPublished, match="did you mean"):
        retain_all(store, [], "thing")
    (answer,) = retain_all(store, [], "things", keep=1)
    assert answer["removed"] == [1, 2]


def test_a_space_whose_owner_is_not_heard_is_left_out(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    grown(make_collection, store, 2)
    go(make_collection(rows(1), name="others"), store)
    folder = Path(store.address).parent
    (folder / "things.toml").write_text("[collection]\nkeep_releases = 500\noops")
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(folder))
    monkeypatch.setenv("COMMONSPACE_WAREHOUSE", store.address)
    code, out, err = told(monkeypatch, capsys, "retain", "--json")
    assert code == 0
    assert [(one["space"], one["removed"], bool(one["left_out"])) for one in json.loads(out)] == [
        ("others/text/v1", [], False), ("things/text/v1", [], True),
    ]  # fmt: skip
    assert "things/text/v1 is left out: no collection file" in err
    assert "left out" in told(monkeypatch, capsys, "retain")[1]
    code, _, err = told(monkeypatch, capsys, "retain", "things/text")
    assert (code, "--keep" in err) == (2, True)
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(folder / "nowhere"))
    assert told(monkeypatch, capsys, "retain")[0] == 0
    assert numbers(store, NAME) == [1, 2]
    assert retain_all(store, [], keep=1)[1]["removed"] == [1]


def test_a_space_that_fails_does_not_stop_the_others(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for count in (1, 2):
        for name in ("others", "quiet", "things"):
            go(make_collection(rows(count), name=name), store)
    others, quiet = (SpaceName(name, "text", 1) for name in ("others", "quiet"))
    damage(store, others, 1)
    retire(store, quiet)
    store.put(retirement_key(quiet), b"[]")
    monkeypatch.setenv("COMMONSPACE_WAREHOUSE", store.address)
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(Path(store.address).parent))
    code, out, err = told(monkeypatch, capsys, "retain", "--keep", "1", "--retired", "--json")
    assert code == 1
    first, second, last = json.loads(out)
    assert (first["error"], first["item"]) == ("ContractBroken", release_key(others, 1))
    assert "delete it, where its release is neither served nor needed" in first["do"]
    assert (second["error"], second["removed"]) == ("ContractBroken", [])
    assert last["removed"] == [1]
    assert "others/text/v1 failed: others/text/v1/releases/000001.json: is damaged" in err
    assert "failed" in told(monkeypatch, capsys, "retain", "--keep", "1")[1]
    assert numbers(store, others) == [1, 2]
    store.delete(release_key(others, 1))  # as advised
    assert "error" not in retain_all(store, [], "others", keep=1)[0]
    assert verify_space(store, "others/text")["ok"]


def test_a_damaged_old_manifest_stops_only_what_needs_it(
    make_collection: Any, store: Store
) -> None:
    grown(make_collection, store, 3)
    go(make_collection(rows(4)), store, promote=False)
    damage(store, NAME, 1)
    checked = verify_space(store, "things/text")
    assert checked["problems"] == [f"{release_key(NAME, 1)}: is damaged: its checksum "
                                   "does not match"]  # fmt: skip
    assert (checked["ok"], checked["orphans"]) == (False, None)
    assert promote_by_hand(store, NAME).release == 4
    assert roll_back(store, NAME).release == 3
    assert roll_back(store, NAME).release == 2
    with pytest.raises(ContractBroken, match=r"000001\.json"):
        roll_back(store, NAME)
    with pytest.raises(ContractBroken, match="nothing of the space is removed"):
        retain(store, NAME, 1)
    go(make_collection(rows(5)), store, promote=False)
    go(make_collection(rows(6)), store, promote=False)
    damage(store, NAME, 6)
    with pytest.raises(ContractBroken, match=r"000006\.json"):  # not the older candidate
        promote_by_hand(store, NAME)
    report = go(make_collection(rows(6)), store, promote=False)
    assert report["release"] == 7
    assert promote_by_hand(store, NAME).release == 7


def test_an_adopted_release_that_is_removed_is_made_again(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run finds its equal in a superseded candidate, which `retain` removes just then."""
    grown(make_collection, store, 1)
    for count in (2, 3):
        go(make_collection(rows(count)), store, promote=False)
    real, removed = commit.require_not_in_removal, []

    def late(*arguments: Any) -> None:
        if not removed:
            removed.extend(retain(store, NAME, 1).releases)
        real(*arguments)

    monkeypatch.setattr(commit, "require_not_in_removal", late)
    report = go(make_collection(rows(2)), store)
    assert removed == [2]
    assert (report["state"], report["release"]) == ("promoted", 4)
    assert len(opened(store)) == 2
    assert verify_space(store, "things/text")["ok"]


def test_what_was_served_lately_stays_in_the_table(
    make_collection: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that was made long ago may have been served until just now."""
    monkeypatch.setattr(table_upkeep, "FOR_READERS", timedelta(seconds=2))
    monkeypatch.setattr(table_upkeep, "STALL", timedelta(seconds=3))
    monkeypatch.setattr(table_upkeep, "VERSIONS_BETWEEN_UPKEEP", 1)
    grown(make_collection, store, 1)
    reader = opened(store)
    time.sleep(4)
    go(make_collection(rows(2)), store)
    assert reader.get(["i000"])["found"].to_pylist() == [True]
    first = connect(store.address).open_table(NAME.table).list_versions()[0]["version"]
    time.sleep(4)
    go(make_collection(rows(3)), store)
    left = [v["version"] for v in connect(store.address).open_table(NAME.table).list_versions()]
    assert min(left) > first
    pointer = current(store, NAME)
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
        assert table_upkeep.served_since(pointer, moment) == lately
    assert table_upkeep.served_since(pointer, datetime(2025, 12, 31, tzinfo=UTC)) == []


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
        age = table_upkeep._age(Table(), {1})
    time.tzset()
    assert timedelta(days=5) <= age - table_upkeep.STALL < timedelta(days=5, minutes=5)


def test_a_retired_version_is_removed_on_request_only(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 2)
    pin(store, NAME, 1)
    retire(store, NAME, "over")
    assert retain_all(store, [], keep=5)[0]["removed"] == []
    (answer,) = retain_all(store, [], keep=1, retired=True)
    assert answer["kept"] == {"1": "pinned", "2": "current"}
    with pytest.raises(UserMistake, match="pinned releases are kept: 1"):
        drop(store, NAME)
    unpin(store, NAME, 1)
    assert retain_all(store, [], retired=True, dry_run=True)[0]["removed"] == [1, 2]
    assert numbers(store, NAME) == [1, 2]
    assert retain_all(store, [], retired=True)[0]["removed"] == [1, 2]
    assert store.list(str(NAME)) == [retirement_key(NAME)]
    assert NAME.table not in connect(store.address).list_tables().tables
    assert retain_all(store, [], retired=True) == []
    with pytest.raises(NotPublished, match="no promoted release"):
        opened(store)
    with pytest.raises(UserMistake, match="retired"):
        go(make_collection(rows(1)), store)


def test_an_interrupted_drop_cannot_be_taken_back(make_collection: Any, store: Store) -> None:
    """LanceDB fails in the middle; its words come as one of our errors."""
    grown(make_collection, store, 1)
    retire(store, NAME)
    database = Path(store.address) / "lancedb"
    shutil.move(database, database.with_name("aside"))
    database.write_text("a file stands where the database was")
    (answer,) = retain_all(store, [], retired=True)
    assert (answer["error"], answer["item"]) == ("ContractBroken", "things/text/v1")
    with pytest.raises(UserMistake, match="its rows were removed"):
        revive(store, NAME)
    database.unlink()
    shutil.move(database.with_name("aside"), database)
    assert retain_all(store, [], retired=True)[0]["removed"] == [1]
    assert store.list(str(NAME)) == [retirement_key(NAME)]


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
def test_killed_at_any_change(make_collection: Any, store: Store, point: int) -> None:
    """The announcement, two manifests, two parts, its withdrawal, and the pointer's history."""
    grown(make_collection, store, 3)
    answer = subprocess.run(
        [sys.executable, "-c", KILLER, str(point), store.address],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == (-9 if point < 8 else 0), answer.stderr
    assert verify_space(store, "things/text")["ok"]
    retain(store, NAME, 1)
    assert numbers(store, NAME) == [3]
    check_whole(store)
    pointer = current(store, NAME)
    assert pointer is not None
    assert pointer.served == ()


@pytest.mark.parametrize(
    ("key", "ask"),
    [
        (removal_key(NAME), lambda store: retain(store, NAME, 1)),
        (promotion_key(NAME), lambda store: promote_by_hand(store, NAME)),
        (retirement_key(NAME), opened),
        (pin_key(NAME, 1), lambda store: retain(store, NAME, 1)),
    ],
)
def test_a_damaged_mark_is_named(
    make_collection: Any, store: Store, key: str, ask: Callable[[Store], Any]
) -> None:
    grown(make_collection, store, 1)
    pin(store, NAME, 1)
    for damage in (b"", b"[]", b'{"release"', b'{"what": 1}', bytes([0xFF])):
        store.put(key, damage)
        with pytest.raises(ContractBroken, match="is damaged") as refusal:
            ask(store)
        assert refusal.value.item == key


def test_a_candidate_may_be_promoted_beside_retention(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 2)
    go(make_collection(rows(3)), store, promote=False)
    retain(store, NAME, 1)
    assert numbers(store, NAME) == [2, 3]
    promote_by_hand(store, NAME)
    assert len(opened(store)) == 3


def test_what_is_announced_is_plain_json(make_collection: Any, store: Store) -> None:
    grown(make_collection, store, 1)
    (release,) = manifests(store, NAME).values()
    pending = PendingRemoval(frozenset({2, 1}), frozenset(files_of(release)))
    assert json.loads(marker_bytes(pending))["releases"] == [1, 2]
    store.put(removal_key(NAME), marker_bytes(pending))
    assert pending_removal(store, NAME) == pending


def test_a_life_in_a_bucket(make_collection: Any, bucket: str) -> None:
    store = open_store(bucket)
    grown(make_collection, store, 4)
    go(make_collection(rows(5)), store, promote=False)
    assert promote_by_hand(store, NAME).release == 5
    assert roll_back(store, NAME).release == 4
    pin(store, NAME, 1)
    assert retain(store, NAME, 1).releases == (2, 3)
    assert [(one.number, one.state) for one in list_releases(store, NAME)] == [
        (1, "retired"), (4, "current"), (5, "retired"),
    ]  # fmt: skip
    check_whole(store)
    assert opened(store).changes(1).added["id"].to_pylist() == ["i001", "i002", "i003"]
    unpin(store, NAME, 1)
    retire(store, NAME)
    retain_all(store, [], retired=True)
    assert store.list(str(NAME)) == [retirement_key(NAME)]


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
def test_runs_beside_retention_and_a_reader(make_collection: Any, store: Store) -> None:
    """Two states take turns, so that each run needs parts that retention is removing."""
    grown(make_collection, store, 2)
    with subprocess.Popen(
        [sys.executable, "-c", RETAINING, store.address],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    ) as retaining:  # fmt: skip
        assert retaining.stdout is not None
        assert retaining.stdout.readline() == "1\n"
        for turn in range(30):
            count = turn % 2 + 1
            assert "error" not in go(make_collection(rows(count), **GATES), store)
            assert len(opened(store).search("text", k=9)) == count
            assert len(opened(store).to_arrow()) == count
            assert verify_space(store, "things/text")["ok"]
        assert retaining.poll() is None
        retaining.kill()
    retain(store, NAME, 1)
    assert verify_space(store, "things/text")["ok"]
    assert len(numbers(store, NAME)) == 1
    assert not orphans(store, NAME)
