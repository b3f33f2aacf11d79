"""Files without a final line end: cut, or written so, which only a run of all of them can tell."""

from __future__ import annotations

import pytest

from commonspace.pipeline.source.records import Scope
from tests.pipeline.run.source_files import GATES, notices, texts, things, written
from tests.support.warehouse import Warehouse, numbered_items


@pytest.mark.parametrize("delete_missing", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_run_of_ids_does_not_say_how_a_file_is_written(
    kind: str, delete_missing: bool, warehouse: Warehouse
) -> None:
    name = f"a.{kind}"
    warehouse.run_without_error(things(warehouse, kind, {name: written(kind, numbered_items(20))}))
    before = texts(warehouse)
    half = things(warehouse, kind, {name: written(kind, numbered_items(10))[:-1]})
    ids = Scope(ids=frozenset({"i0003"}))
    warehouse.run_without_error(half, scope=ids, delete_missing=delete_missing)
    assert warehouse.open().release.unterminated == ()
    report = warehouse.run_without_error(half)
    assert report["ledger"]["deleted"] == 0
    assert list(notices(report)) == ["file_cut"]
    assert texts(warehouse) == before


def test_a_cut_text_is_not_published_after_a_run_of_ids(warehouse: Warehouse) -> None:
    whole = written("csv", numbered_items(20))
    warehouse.run_without_error(things(warehouse, "csv", {"a.csv": whole}))
    before = texts(warehouse)
    cut = things(warehouse, "csv", {"a.csv": whole[:-4]})
    ids = Scope(ids=frozenset({"i0002"}))
    for retry in (False, True):
        warehouse.run_without_error(cut, scope=ids, retry_rejects=retry)
    warehouse.run_without_error(cut)
    assert texts(warehouse) == before


def test_a_run_of_ids_forgets_no_file_but_one_that_has_got_its_line_end(
    warehouse: Warehouse,
) -> None:
    files = {f"{name}.jsonl": written("jsonl", numbered_items(5, first=5 * n))[:-1]
             for n, name in enumerate("ab")}  # fmt: skip
    collection = things(warehouse, "jsonl", files)
    warehouse.run_without_error(collection)
    assert warehouse.open().release.unterminated == ("a.jsonl", "b.jsonl")
    things(warehouse, "jsonl", {"b.jsonl": files["b.jsonl"] + b"\n"})
    warehouse.run_without_error(collection, scope=Scope(ids=frozenset({"i0000"})))
    assert warehouse.open().release.unterminated == ("a.jsonl",)


def test_deleting_what_is_missing_of_a_partition_forgets_no_file_of_another(
    warehouse: Warehouse,
) -> None:
    rows = {day: numbered_items(10, first=10 * day) for day in (1, 2)}
    files = {f"day/{day}/a.csv": written("csv", rows[day])[:-1] for day in rows}
    source = {"kind": "csv", "uri": "day/{partition}/*.csv"}
    collection = warehouse.collection(source=source, files=files, gates=GATES)
    warehouse.run_without_error(collection)
    warehouse.run_without_error(collection, scope=Scope("1"), delete_missing=True)
    assert warehouse.open().release.unterminated == ("1/a.csv", "2/a.csv")
    shorter = {"day/2/a.csv": written("csv", rows[2][:9])[:-1]}
    collection = warehouse.collection(source=source, files=shorter, gates=GATES)
    report = warehouse.run_without_error(collection)
    assert (report["ledger"]["deleted"], report["notices"]) == (1, [])


def test_two_cut_files_may_end_with_one_id(warehouse: Warehouse) -> None:
    """The record of the first file is taken, and is the one that may have lost its end."""
    last = {"id": "z", "text": "a text that is long enough to be cut"}
    rows = {name: [*numbered_items(5, first=5 * n), last] for n, name in enumerate("ab")}
    files = {f"{name}.csv": written("csv", rows[name]) for name in rows}
    warehouse.run_without_error(things(warehouse, "csv", files))
    before = texts(warehouse)
    cut = {name: data[:-9] for name, data in files.items()}
    report = warehouse.run_without_error(things(warehouse, "csv", cut))
    assert texts(warehouse) == before
    assert "file_cut" in notices(report)
