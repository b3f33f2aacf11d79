"""Two records of one id: the newer one is published, in whatever order partitions are run."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.source.records import Scope
from tests.support.collection_file import jsonl
from tests.support.documents import DOCUMENTS, document, holds_every_passage
from tests.support.documents import SPACE as PASSAGES
from tests.support.warehouse import Warehouse

GATES = {
    "max_reject_share": 1.0, "max_deleted_share": 1.0, "max_duplicate_vectors": 1.0,
}  # fmt: skip
Row = Mapping[str, Any]
UPDATES = {
    "2026-11-18": [{"id": "a", "text": "old text of a"}, {"id": "b", "text": "only on the 18th"}],
    "2026-11-19": [{"id": "a", "text": "new text of a"}, {"id": "c", "text": "only on the 19th"}],
}


def daily(
    warehouse: Warehouse, days: Mapping[str, Sequence[Row]], newest: str = "", **options: Any
) -> Collection:
    source: dict[str, Any] = {"uri": "day/{partition}.jsonl"}
    if newest:
        source |= {"metadata": {newest: "int64"}, "newest": newest}
    files = {f"day/{day}.jsonl": jsonl(rows) for day, rows in days.items()}
    return warehouse.collection(source=source, files=files, gates=GATES, **options)


def published(warehouse: Warehouse, *columns: str) -> dict[str, tuple[Any, ...]]:
    rows = warehouse.open().to_arrow().to_pylist()
    return {row["id"]: tuple(row[name] for name in columns) for row in rows}


def state(warehouse: Warehouse) -> tuple[list[Any], list[Any]]:
    """Rows and rejects, but for who made them when."""
    space = warehouse.open()
    rows, rejects = space.to_arrow().drop(["encoded_at", "run"]), space.rejects.drop(["run"])
    return rows.sort_by("id").to_pylist(), sorted(map(str, rejects.to_pylist()))


def notices(report: dict[str, Any]) -> dict[str, tuple[int, list[str]]]:
    return {n["kind"]: (n["count"], list(n["examples"])) for n in report["notices"]}


@pytest.mark.parametrize("order", [["2026-11-18", "2026-11-19"], ["2026-11-19", "2026-11-18"]])
def test_a_backfill_does_not_replace_what_a_later_day_says(
    order: list[str], warehouse: Warehouse
) -> None:
    collection = daily(warehouse, UPDATES)
    reports = [warehouse.run_without_error(collection, scope=Scope(day)) for day in order]
    assert published(warehouse, "partition") == {
        "a": ("2026-11-19",), "b": ("2026-11-18",), "c": ("2026-11-19",),
    }  # fmt: skip
    told = "taken_over" if order[0] < order[1] else "superseded"
    assert notices(reports[1]) == {told: (1, ["a"])}
    ledger = reports[1]["ledger"]
    assert ledger["offered"] == ledger["encoded"] == (2 if order[0] < order[1] else 1)
    state = warehouse.open().release.state
    report = warehouse.run_without_error(collection)
    assert (report["state"], notices(report)) == ("unchanged", {"superseded": (1, ["a"])})
    assert (report["ledger"]["kept"], report["ledger"]["rejected"]) == (3, 0)
    for day in order:
        assert warehouse.run_without_error(collection, scope=Scope(day))["state"] == "unchanged"
    ids = Scope(ids=frozenset("ab"))
    assert warehouse.run_without_error(collection, scope=ids)["ledger"]["kept"] == 2
    assert warehouse.open().release.state == state


def test_a_row_that_its_day_drops_comes_back_with_a_run_of_the_earlier_day(
    warehouse: Warehouse,
) -> None:
    collection = daily(warehouse, UPDATES)
    warehouse.run_without_error(collection)
    daily(warehouse, {"2026-11-19": UPDATES["2026-11-19"][1:]})
    report = warehouse.run_without_error(collection, scope=Scope("2026-11-19"))
    assert report["ledger"]["deleted"] == 1
    assert published(warehouse).keys() == {"b", "c"}
    report = warehouse.run_without_error(collection, scope=Scope("2026-11-18"))
    assert (report["ledger"]["encoded"], report["notices"]) == (1, [])
    assert published(warehouse, "partition")["a"] == ("2026-11-18",)


@pytest.mark.parametrize("order", [["1", "2"], ["2", "1"]])
@pytest.mark.parametrize("newest", ["", "at"])
def test_an_item_that_moves_to_an_earlier_day_is_there_in_any_order(
    newest: str, order: list[str], warehouse: Warehouse
) -> None:
    rows: list[dict[str, Any]] = [{"id": name, "text": name, "at": 7} for name in "abc"]
    moved, stays, earlier = rows
    collection = daily(warehouse, {"1": [earlier], "2": [moved, stays]}, newest)
    warehouse.run_without_error(collection)
    daily(warehouse, {"1": [earlier, {**moved, "at": 6}], "2": [stays]}, newest)
    for day in order:
        warehouse.run_without_error(collection, scope=Scope(day))
    assert published(warehouse, "partition") == {"a": ("1",), "b": ("2",), "c": ("1",)}
    assert warehouse.run_without_error(collection)["state"] == "unchanged"


@pytest.mark.parametrize("line", ['{"id": "a", "te', '{"id": null, "text": "a"}'])
def test_a_later_day_that_cannot_be_read_whole_keeps_its_row(
    line: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    """What it lacks may be in the line that nobody can read, or has lost its id."""
    collection = daily(warehouse, {"1": [], "2": [{"id": "a", "text": "a"}]})
    warehouse.run_without_error(collection)
    daily(warehouse, {"1": [{"id": "a", "text": "older"}]})
    (tmp_path / "day/2.jsonl").write_text(line + '\n{"id": "b", "text": "b"}\n')
    report = warehouse.run_without_error(collection, scope=Scope("1"))
    assert notices(report) == {"superseded": (1, ["a"])}
    assert published(warehouse, "partition") == {"a": ("2",)}


def test_a_later_day_that_is_gone_is_newer_all_the_same(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    collection = daily(warehouse, UPDATES)
    warehouse.run_without_error(collection)
    (tmp_path / "day/2026-11-19.jsonl").unlink()
    report = warehouse.run_without_error(collection)
    assert report["state"] == "unchanged"
    assert notices(report) == {
        "file_gone": (2, ["2026-11-19.jsonl"]), "superseded": (1, ["a"]),
    }  # fmt: skip
    warehouse.run_without_error(collection, delete_missing=True)
    assert published(warehouse, "partition") == {"a": ("2026-11-18",), "b": ("2026-11-18",)}


@pytest.mark.parametrize("scope", [Scope(), Scope("1")])
def test_a_row_of_a_file_that_is_gone_stays_beside_an_older_record(
    scope: Scope, warehouse: Warehouse, tmp_path: Path
) -> None:
    rows = [{"id": "a", "text": f"version {n}", "at": n} for n in (1, 2)]
    files = {f"day/1/{n}.jsonl": jsonl([row]) for n, row in enumerate(rows)}
    source = {"uri": "day/{partition}/*.jsonl", "metadata": {"at": "int64"}, "newest": "at"}
    collection = warehouse.collection(source=source, files=files, gates=GATES)
    warehouse.run_without_error(collection)
    (tmp_path / "day/1/1.jsonl").unlink()
    report = warehouse.run_without_error(collection, scope=scope)
    assert notices(report) == {"file_gone": (1, ["1/1.jsonl"]), "superseded": (1, ["a"])}
    assert published(warehouse, "at") == {"a": (2,)}
    warehouse.run_without_error(collection, scope=scope, delete_missing=True)
    assert published(warehouse, "at") == {"a": (1,)}


def test_within_a_file_the_first_record_is_taken(warehouse: Warehouse) -> None:
    rows = [{"id": "a", "text": "first"}, {"id": "a", "text": "second"}]
    collection = daily(warehouse, {"1": [*rows, {"id": "b", "text": "b"}], "2": rows})
    for scope in (Scope("2"), Scope("1"), Scope("2")):
        warehouse.run_without_error(collection, scope=scope)
    rejects = warehouse.open().rejects.to_pylist()
    assert [(row["reason"], row["partition"]) for row in rejects] == [
        ("duplicate_id", "1"), ("duplicate_id", "2"),
    ]  # fmt: skip
    state = warehouse.open().release.state
    assert warehouse.run_without_error(collection)["state"] == "unchanged"
    assert warehouse.open().release.state == state


def test_the_owner_names_the_column_that_decides(warehouse: Warehouse) -> None:
    days = {
        "1": [{"id": "a", "text": "a, 5", "at": 5}, {"id": "b", "text": "b, null"},
              {"id": "c", "text": "c, 2", "at": 2}, {"id": "c", "text": "c, 7", "at": 7},
              {"id": "c", "text": "c, 7 again", "at": 7}],
        "2": [{"id": "a", "text": "a, 3", "at": 3}, {"id": "b", "text": "b, -1", "at": -1},
              {"id": "c", "text": "c, 7 tomorrow", "at": 7}],
    }  # fmt: skip
    collection = daily(warehouse, days, "at")
    expected = {"a": ("1", 5), "b": ("2", -1), "c": ("2", 7)}
    for day in ("2", "1", "2"):
        warehouse.run_without_error(collection, scope=Scope(day))
    assert published(warehouse, "partition", "at") == expected
    report = warehouse.run_without_error(collection)
    assert report["state"] == "unchanged"
    assert notices(report) == {"superseded": (4, ["c", "a", "b"])}
    assert report["rejects_by_reason"] == {"duplicate_id": 1}


def test_of_one_file_too(warehouse: Warehouse) -> None:
    rows = [{"id": "a", "text": f"version {n}", "at": n} for n in (2, 9, 4)]
    collection = warehouse.collection(
        rows, source={"metadata": {"at": "int64"}, "newest": "at"}, gates=GATES
    )
    report = warehouse.run_without_error(collection)
    assert published(warehouse, "at") == {"a": (9,)}
    assert notices(report) == {"superseded": (2, ["a", "a"])}
    assert report["ledger"]["offered"] == report["ledger"]["encoded"] == 1
    older = warehouse.collection(
        [{"id": "a", "text": "older", "at": 1}],
        source={"metadata": {"at": "int64"}, "newest": "at"},
        gates=GATES,
    )
    warehouse.run_without_error(older)
    assert published(warehouse, "at") == {"a": (1,)}, "a whole file says what there is"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("partitions", [("1", "1"), ("1", "2"), ("2", "1")])
def test_the_refused_content_of_an_older_record_is_no_reject_of_a_newer_one(
    partitions: tuple[str, str], order: tuple[int, int], warehouse: Warehouse
) -> None:
    """In one partition whatever the order in the file; in two, each keeps its own rejects."""
    records = [{"id": "a", "text": "nul\udcff", "at": 1}, {"id": "a", "text": "newer", "at": 2}]
    days: dict[str, list[Row]] = {"1": [{"id": "b", "at": 0}], "2": [{"id": "c", "text": "c"}]}
    for n in order:
        days[partitions[n]].append(records[n])
    report = warehouse.run_without_error(daily(warehouse, days, "at"))
    assert published(warehouse, "at") == {"a": (2,), "c": (None,)}
    assert report["ledger"]["absent"] == 1
    is_elsewhere = partitions == ("1", "2")
    assert report["ledger"]["rejected"] == len(warehouse.open().rejects) == is_elsewhere


def test_of_passages_too(warehouse: Warehouse) -> None:
    pytest.importorskip("semantic_text_splitter")
    newer = [document("a", "lighthouse harbour"), document("d", "x")]
    collection = daily(warehouse, {"1": DOCUMENTS, "2": newer}, spaces=[PASSAGES])
    for scope in (Scope(), Scope("1"), Scope("2")):
        warehouse.run_without_error(collection, scope=scope)
        assert holds_every_passage(warehouse, [*DOCUMENTS[1:], *newer])
    (warehouse.folder / "twin").mkdir()
    twin = Warehouse.within(warehouse.folder / "twin")
    collection = daily(twin, {"1": DOCUMENTS, "2": newer}, spaces=[PASSAGES])
    for day in ("2", "1"):
        twin.run_without_error(collection, scope=Scope(day))
    assert state(twin) == state(warehouse)


@pytest.mark.parametrize("newest", ["", "at"])
@pytest.mark.parametrize("seed", range(3))
def test_any_order_ends_where_one_run_ends(seed: int, newest: str, tmp_path: Path) -> None:
    """Random partitions and orders; `test_precedence.py` tries more of them without files."""
    chance = random.Random(seed)
    rows = {
        day: [
            {"id": item, "text": f"{item} {n} of {day}", "at": chance.choice([None, 0, 1, 2])}
            for n, item in enumerate(chance.choices("abcdef", k=5))
        ]
        for day in ("1", "2", "3")
    }
    order = [*rows, *chance.choices([*rows], k=2)]
    chance.shuffle(order)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, parts = Warehouse.within(tmp_path / "whole"), Warehouse.within(tmp_path / "parts")
    whole.run_without_error(daily(whole, rows, newest))
    collection = daily(parts, rows, newest)
    for day in order:
        parts.run_without_error(collection, scope=Scope(day))
    assert state(parts) == state(whole)
    assert parts.run_without_error(collection)["state"] == "unchanged"
