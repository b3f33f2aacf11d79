"""Retention: which releases and files are kept, and that nobody loses what they rely on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from commonspace.pipeline.contract.layout import parts_folder, retirement_key
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.index import compaction
from commonspace.pipeline.maintenance.retain import (
    UNCOMMITTED_SECONDS,
    orphaned_files,
    plan_retention,
    releases_to_keep,
    retain,
)
from commonspace.pipeline.maintenance.retain_all import retain_all
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.release.history import list_releases
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.markers.pins import pin_release, unpin_release
from commonspace.pipeline.release.markers.retirement import retire_space
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.storage.store import open_store
from tests.support.checkout import REPOSITORY
from tests.support.killed_process import kill_at_change
from tests.support.retained import check_whole
from tests.support.warehouse import NAME, Warehouse, numbered_items


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
    warehouse.publish_releases(6)
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


def test_a_reader_of_a_removed_release_is_reported(warehouse: Warehouse) -> None:
    warehouse.publish_releases(2)
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
    in_lance = {"vector": [1.0] * 64, "where": "id IS NOT NULL"}
    for reader in readers:  # one that has not looked yet, and one that has
        with pytest.raises(NotPublished, match="release 3 is served") as refusal:
            reader.search(**in_lance)
        assert refusal.value.do == "Open the space again."
    for ask in (
        lambda: readers[0].get(["i0000"]),
        lambda: readers[0].search(vector=[1.0] * 64),
    ):
        with pytest.raises(NotPublished, match="no release 1") as refusal:
            ask()
        assert refusal.value.do.startswith("Open the space again")
    assert asked.get(["i0000"])["found"].to_pylist() == [True]  # it has the rows in memory
    fresh = warehouse.open()
    shutil.rmtree(warehouse.root / "lancedb/things__text__v1.lance")
    with pytest.raises(ContractBroken, match="is gone") as broken:
        fresh.search(**in_lance)
    assert "--repair" in broken.value.do
    assert fresh.get(["i0000"])["found"].to_pylist() == [True]  # Parquet holds it


def test_rolling_back_stays_possible(warehouse: Warehouse) -> None:
    warehouse.publish_releases(5)
    retain(warehouse.store, NAME, 3)
    for number in (4, 3):
        assert roll_back(warehouse.store, NAME).release == number
    with pytest.raises(NotPublished, match="no release 2"):
        roll_back(warehouse.store, NAME)
    retain(warehouse.store, NAME, 1)
    assert release_numbers(warehouse.store, NAME) == [3, 5]
    assert warehouse.run(numbered_items(5))["release"] == 6


def test_a_file_in_flight_stays_for_a_day(warehouse: Warehouse) -> None:
    warehouse.publish_releases(1)
    key = parts_folder(NAME) + "/all/all-of-a-run-that-has-not-committed.parquet"
    warehouse.store.put_if_absent(key, b"rows")
    assert orphaned_files(warehouse.store, NAME) == [key]
    assert retain(warehouse.store, NAME, 1).removed_files == ()
    then = time.time() - UNCOMMITTED_SECONDS - 60
    os.utime(warehouse.root / key, (then, then))
    assert retain(warehouse.store, NAME, 1).removed_files == (key,)
    check_whole(warehouse)


def test_what_a_killed_write_left_goes_after_a_day(warehouse: Warehouse) -> None:
    warehouse.publish_releases(1)
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


RETAIN = """
import sys
from commonspace.pipeline.storage.store import open_store
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.maintenance.retain import retain
retain(open_store(sys.argv[1]), SpaceName("things", "text", 1), 1)
"""


@pytest.mark.parametrize(
    "point", [pytest.param(n, marks=() if n == 5 else pytest.mark.crash) for n in range(1, 9)]
)
def test_killed_at_any_change(warehouse: Warehouse, point: int) -> None:
    """The announcement, two manifests, two parts, its withdrawal, and the pointer's history."""
    warehouse.publish_releases(3)
    answer = kill_at_change(point, warehouse, warehouse.address, code=RETAIN)
    assert answer.returncode == (-9 if point < 8 else 0), answer.stderr
    assert warehouse.verify()["ok"]
    retain(warehouse.store, NAME, 1)
    assert release_numbers(warehouse.store, NAME) == [3]
    check_whole(warehouse)
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert pointer.served == ()


def test_a_candidate_may_be_promoted_beside_retention(warehouse: Warehouse) -> None:
    warehouse.publish_releases(2)
    warehouse.run(numbered_items(3), promote=False)
    retain(warehouse.store, NAME, 1)
    assert release_numbers(warehouse.store, NAME) == [2, 3]
    promote_by_hand(warehouse.store, NAME)
    assert len(warehouse.open()) == 3


def test_a_life_in_a_bucket(warehouse: Warehouse, bucket: str) -> None:
    warehouse = Warehouse(warehouse.folder, open_store(bucket))
    warehouse.publish_releases(4)
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
    warehouse.publish_releases(2)
    with subprocess.Popen(
        [sys.executable, "-c", RETAINING, warehouse.address],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    ) as retaining:  # fmt: skip
        assert retaining.stdout is not None
        assert retaining.stdout.readline() == "1\n"
        for turn in range(30):
            count = turn % 2 + 1
            warehouse.run_without_error(numbered_items(count), gates={"max_deleted_share": 1.0})
            assert len(warehouse.open().search("text", k=9)) == count
            assert len(warehouse.open().to_arrow()) == count
            assert warehouse.verify()["ok"]
        assert retaining.poll() is None
        retaining.kill()
    retain(warehouse.store, NAME, 1)
    assert warehouse.verify()["ok"]
    assert len(release_numbers(warehouse.store, NAME)) == 1
    assert not orphaned_files(warehouse.store, NAME)
