"""Runs of one partition: each replaces exactly itself, in any order, side by side, and again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import commonspace
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.errors import GateRefused, SourceNotFound
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.storage.store import Store, open_store
from tests.support.collection_file import TEXT_SPACE, jsonl, write_collection
from tests.support.warehouse import Warehouse

DAYS = [f"2026-11-{day:02}" for day in range(10, 14)]
SPACES = [
    TEXT_SPACE,
    {"name": "title", "encoder": "hashed/64", "fields": ["title"]},
]


def rows_of(day: str, word: str = "text") -> list[dict[str, str]]:
    """Some days share texts, and one has no titles at all."""
    rows = [{"id": f"{day}-{n}", "text": f"{word} {n} {day[-1]}"} for n in range(int(day[-1]) + 2)]
    if day == DAYS[0]:
        return rows
    return [{**row, "title": f"title {n % 3}"} for n, row in enumerate(rows)]


def write(folder: Path, day: str, rows: list[dict[str, str]]) -> None:
    (folder / f"events/{day}.jsonl").write_bytes(jsonl(rows))


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    path = write_collection(
        tmp_path,
        name="events",
        collection={"schedule": "@daily", "partitions": "day"},
        source={"uri": "events/{partition}.jsonl", "metadata": ["title"]},
        spaces=SPACES,
        files={f"events/{day}.jsonl": jsonl(rows_of(day)) for day in DAYS},
        gates={"max_duplicate_vectors": 1.0, "max_drift": 1.0},
        run={"shard_rows": 4},
    )
    return load_collection(path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "warehouse"))


def take(
    collection: Collection, store: Store, day: str | None, run: str, **options: bool
) -> dict[str, Any]:
    """What the DAG's tasks do, stage by stage; the answer of `pull` or of the last promotion."""
    reported = run_stage("pull", collection, store, run, scope=Scope(partition=day), **options)
    if reported.get("empty"):
        return reported
    for space in ("text/v1", "title/v1"):
        planned = run_stage("plan", collection, store, run, space=space)
        if planned.get("empty"):
            continue
        shards = range(planned["shards"])
        for stage in ("encode", "validate", "publish", "promote"):
            reported = run_stage(stage, collection, store, run, space=space, shards=shards)
        run_stage("report", collection, store, run, space=space)
    return reported


def served(warehouse: Path) -> dict[str, pa.Table]:
    """Every row of both spaces, but for who made it when."""
    found = {}
    for name in ("text", "title"):
        space = commonspace.open(f"events/{name}", warehouse=str(warehouse))
        found[name] = space.to_arrow().drop(["encoded_at", "run"]).sort_by("id")
    return found


def test_any_order_and_twice_gives_what_one_full_run_gives(
    collection: Collection, store: Store, tmp_path: Path
) -> None:
    whole = open_store(str(tmp_path / "whole"))
    take(collection, whole, None, "full")
    expected = served(tmp_path / "whole")
    order = DAYS * 2
    random.Random(5).shuffle(order)
    moved = 0
    for number, day in enumerate([DAYS[0], *order]):  # without titles, and first
        reported = take(collection, store, day, f"run-{number:02}")
        assert reported["partition"] == day
        moved += reported["promoted"]
    assert served(tmp_path / "warehouse") == expected
    assert moved == len(DAYS), "the second time, nothing changes"


SIDE_BY_SIDE = """
import sys
from pathlib import Path
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.errors import CommonspaceError
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.storage.store import open_store
from commonspace.pipeline.run.process import run_stage
folder, day, run = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
collection, store = load_collection(folder / "events.toml"), open_store(str(folder / "warehouse"))
tries = 0
def stage(name, space=None, shards=(), scope=Scope()):
    global tries
    for left in reversed(range(5)):  # as many tries as a task of the DAG has
        try:
            return run_stage(name, collection, store, run, space=space, scope=scope, shards=shards)
        except CommonspaceError as error:
            tries += 1
            if not (error.retry and left):
                raise
stage("pull", scope=Scope(partition=day))
for space in ("text/v1", "title/v1"):
    planned = stage("plan", space)
    if not planned.get("empty"):
        for name in ("encode", "validate", "publish", "promote", "report"):
            stage(name, space, range(planned["shards"]))
print(tries)
"""


@pytest.mark.crash
def test_side_by_side_gives_what_one_full_run_gives(
    collection: Collection, store: Store, tmp_path: Path
) -> None:
    take(collection, open_store(str(tmp_path / "whole")), None, "full")

    def one(number: int, day: str) -> int:
        command = [sys.executable, "-c", SIDE_BY_SIDE, str(tmp_path), day, f"run-{number}"]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == 0, done.stderr[-2000:]
        return int(done.stdout)

    with ThreadPoolExecutor(4) as pool:
        tries = sum(pool.map(one, range(len(DAYS)), reversed(DAYS)))
    assert served(tmp_path / "warehouse") == served(tmp_path / "whole")
    assert tries <= len(DAYS), "a stage plans again by itself"


def test_a_corrected_day_replaces_itself_and_nothing_else(
    collection: Collection, store: Store, tmp_path: Path
) -> None:
    for day in DAYS[:3]:
        take(collection, store, day, day)
    before = served(tmp_path / "warehouse")["text"]
    write(tmp_path, DAYS[1], rows_of(DAYS[1], "better")[:-1])
    write(tmp_path, DAYS[2], rows_of(DAYS[2], "not asked for"))
    limits = collection.gates.model_copy(update={"max_deleted_share": 0.5})
    loose = collection.model_copy(update={"gates": limits})
    assert take(loose, store, DAYS[1], "again")["promoted"]
    after = served(tmp_path / "warehouse")["text"]

    def others(table: pa.Table) -> list[dict[str, Any]]:
        return [row for row in table.to_pylist() if row["partition"] != DAYS[1]]

    assert others(after) == others(before)
    mine = [row["id"] for row in after.to_pylist() if row["partition"] == DAYS[1]]
    assert mine == [row["id"] for row in rows_of(DAYS[1])[:-1]]


def test_a_day_without_files_is_empty(collection: Collection, store: Store) -> None:
    take(collection, store, DAYS[0], "first")
    reported = take(collection, store, "2026-11-30", "nothing")
    assert "there is no file or folder for partition 2026-11-30" in reported["empty"]


def test_a_day_without_records_is_empty_even_where_nothing_was_published(
    collection: Collection, store: Store, tmp_path: Path
) -> None:
    write(tmp_path, "2026-11-30", [])
    reported = take(collection, store, "2026-11-30", "nothing")
    assert reported["empty"] == "partition 2026-11-30 holds no records"


def test_rows_are_not_deleted_for_a_file_that_is_gone(
    collection: Collection, store: Store, tmp_path: Path
) -> None:
    for day in DAYS[1:3]:
        take(collection, store, day, day)
    before = served(tmp_path / "warehouse")
    (tmp_path / f"events/{DAYS[1]}.jsonl").unlink()
    with pytest.raises(SourceNotFound, match="of which 6 rows are published") as gone:
        take(collection, store, DAYS[1], "gone")
    assert not gone.value.retry
    write(tmp_path, DAYS[1], [])
    assert not take(collection, store, DAYS[1], "emptied")["promoted"]
    assert served(tmp_path / "warehouse") == before


@pytest.mark.parametrize("is_there", [True, False])
def test_a_day_is_deleted_where_its_run_says_so(
    collection: Collection, store: Store, tmp_path: Path, is_there: bool
) -> None:
    for day in DAYS[1:3]:
        take(collection, store, day, day)
    write(tmp_path, DAYS[1], [])
    if not is_there:
        (tmp_path / f"events/{DAYS[1]}.jsonl").unlink()
    with pytest.raises(GateRefused, match="deleted"):
        take(collection, store, DAYS[1], "refused", delete_missing=True)
    limits = collection.gates.model_copy(update={"max_deleted_share": 1.0})
    loose = collection.model_copy(update={"gates": limits})
    assert take(loose, store, DAYS[1], "deleted", delete_missing=True)["promoted"]
    days = {name: set(rows["partition"].to_pylist()) for name, rows in
            served(tmp_path / "warehouse").items()}  # fmt: skip
    assert days == {"text": {DAYS[2]}, "title": {DAYS[2]}}


def test_a_source_that_is_not_there_at_all_is_a_failure(
    collection: Collection, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "events").rename(tmp_path / "elsewhere")
    with pytest.raises(SourceNotFound, match="there is no file or folder"):
        take(collection, store, DAYS[0], "mistyped")


def test_rows_of_no_partition_do_not_dilute_what_a_partition_may_lose(tmp_path: Path) -> None:
    """A collection may have been filled before it had partitions; those rows belong to none."""
    warehouse = Warehouse.within(tmp_path)
    gates = {"max_deleted_share": 0.5}
    warehouse.run([{"id": f"old{n}", "text": f"old {n}"} for n in range(20)], gates=gates)

    def day(count: int) -> dict[str, Any]:
        items = [{"id": f"new{n}", "text": f"new {n}"} for n in range(count)]
        return warehouse.run(
            collection={"schedule": "@daily", "partitions": "day"},
            source={"uri": "{partition}.jsonl"},
            files={f"{DAYS[0]}.jsonl": jsonl(items)},
            gates=gates,
            scope=Scope(partition=DAYS[0]),
        )

    assert day(4)["state"] == "promoted"
    assert len(warehouse.open()) == 24
    assert "gate deleted_share refused" in day(1)["what"]
    assert day(2)["state"] == "promoted"
    assert len(warehouse.open()) == 22
    gates = {gate["name"]: gate["message"] for gate in warehouse.open().release.gates}
    assert gates["deleted_share"].startswith("2 of 4 published rows would go")
    assert gates["reject_share"].startswith("0 of 22 items are rejects")
