"""Tables without ids: what their rows are called, and what a change of the table does to them."""

from __future__ import annotations

from typing import Any

import pytest

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.run.run import plan_collection
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.record_ids import record_id
from commonspace.pipeline.source.records import EVERYTHING, Record, Scope
from commonspace.pipeline.workspace.work import Run
from tests.pipeline.run.source_files import notices, texts, written
from tests.support.warehouse import Warehouse

GATES = {"max_reject_share": 0.5, "max_deleted_share": 0.5, "max_duplicate_vectors": 1.0}
KINDS = ["csv", "jsonl", "parquet"]
TEXTS = [f"the text of number {n}" for n in range(6)]


def table(
    warehouse: Warehouse, kind: str, rows: list[dict[str, Any]], generate_id: str, **options: Any
) -> Collection:
    source = {"kind": kind, "uri": f"a.{kind}", "id": None, "generate_id": generate_id}
    source |= options.pop("source", {})
    files = {f"a.{kind}": written(kind, rows)}
    return warehouse.collection(source=source, files=files, gates=GATES, **options)


def rows_of(*numbers: int) -> list[dict[str, Any]]:
    return [{"text": TEXTS[n], "label": f"l{n}"} for n in numbers]


def by_label(warehouse: Warehouse) -> dict[str, str]:
    rows = warehouse.open().to_arrow().to_pylist()
    return {row["label"]: row["id"] for row in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_by_row_name_the_place_and_move_with_it(kind: str, warehouse: Warehouse) -> None:
    options = {"generate_id": "row", "source": {"metadata": ["label"]}}
    warehouse.run_without_error(table(warehouse, kind, rows_of(0, 1, 2, 3), **options))
    assert by_label(warehouse) == {f"l{n}": f"a.{kind}#{n + 1}" for n in range(4)}
    appended = warehouse.run_without_error(
        table(warehouse, kind, rows_of(0, 1, 2, 3, 4), **options)
    )
    assert (appended["ledger"]["encoded"], appended["ledger"]["kept"]) == (1, 4)
    without_first = table(warehouse, kind, rows_of(1, 2, 3, 4), **options)
    report = warehouse.run_without_error(without_first)
    # Every later row has another content now, all of which are known; the last name is gone.
    assert {k: n for k, n in report["ledger"].items() if n} == {
        "offered": 4, "reused": 4, "deleted": 1,
    }  # fmt: skip
    assert by_label(warehouse) == {f"l{n}": f"a.{kind}#{n}" for n in range(1, 5)}
    assert warehouse.run(without_first)["state"] == "unchanged"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_ids_by_content_move_with_the_content(kind: str, warehouse: Warehouse) -> None:
    options = {"generate_id": "content", "source": {"metadata": ["label"]}}
    warehouse.run_without_error(table(warehouse, kind, rows_of(0, 1, 2, 3), **options))
    before = by_label(warehouse)
    assert all(len(name) == 32 for name in before.values())
    turned = warehouse.run_without_error(table(warehouse, kind, rows_of(4, 3, 2, 1, 0), **options))
    assert (turned["ledger"]["encoded"], turned["ledger"]["kept"]) == (1, 4)
    assert by_label(warehouse).items() >= before.items()
    changed = [{"text": "other words", "label": "l0"}, *rows_of(1, 2, 3, 4)]
    report = warehouse.run_without_error(table(warehouse, kind, changed, **options))
    assert (report["ledger"]["encoded"], report["ledger"]["deleted"]) == (1, 1)
    assert by_label(warehouse)["l0"] != before["l0"]
    renamed = [{"text": "other words", "label": "new"}, *rows_of(1, 2, 3, 4)]
    report = warehouse.run_without_error(table(warehouse, kind, renamed, **options))
    assert (report["ledger"]["encoded"], report["ledger"]["deleted"]) == (0, 0)
    assert by_label(warehouse).keys() == {"new", "l1", "l2", "l3", "l4"}


def test_the_same_contents_have_the_same_ids_in_every_format(warehouse: Warehouse) -> None:
    names = set()
    for kind in KINDS:
        collection = table(warehouse, kind, rows_of(*range(6)), "content", name=f"of-{kind}")
        warehouse.run_without_error(collection)
        names.add(frozenset(texts(warehouse, f"of-{kind}/text")))
    assert len(names) == 1


def test_one_content_is_one_item_and_none_is_no_item(warehouse: Warehouse) -> None:
    rows = [*rows_of(0, 1, 0, 0), {"text": "", "label": "l9"}, {"text": "  ", "label": "l8"}]
    report = warehouse.run_without_error(table(warehouse, "csv", rows, "content"))
    ledger = report["ledger"]
    assert (ledger["offered"], ledger["encoded"], ledger["rejected"]) == (3, 2, 1)
    count, examples = notices(report)["same_content"]
    assert (count, examples[0]) == (2, "a.csv, record 3, line 4, byte 59")
    assert notices(report)["no_content"][0] == 1
    by_row = warehouse.run_without_error(table(warehouse, "csv", rows, "row", name="by-row"))
    assert by_row["ledger"]["encoded"] + by_row["ledger"]["reused"] == 4
    assert "same_content" not in notices(by_row)


def test_a_run_of_one_space_makes_the_ids_of_all(warehouse: Warehouse) -> None:
    fields = [("text", ["text"]), ("label", ["label"])]
    spaces = [{"name": name, "encoder": "hashed/64", "fields": of} for name, of in fields]
    whole = table(warehouse, "parquet", rows_of(0, 1, 2), "content", spaces=spaces)
    warehouse.run_spaces(whole)
    alone = whole.model_copy(update={"space": whole.space[:1]})
    assert warehouse.run(alone)["state"] == "unchanged"
    assert set(texts(warehouse)) == set(texts(warehouse, "things/label"))


def test_a_cut_file_deletes_nothing_and_publishes_no_half_content(warehouse: Warehouse) -> None:
    for rule in ("row", "content"):
        collection = table(warehouse, "csv", rows_of(*range(6)), rule, name=rule)
        warehouse.run_without_error(collection)
        before = texts(warehouse, f"{rule}/text")
        path = warehouse.folder / "a.csv"
        path.write_bytes(path.read_bytes()[:-6])
        report = warehouse.run_without_error(collection)
        assert report["ledger"]["deleted"] == 0
        assert texts(warehouse, f"{rule}/text") == before


def test_a_run_takes_the_made_ids_it_is_given(warehouse: Warehouse) -> None:
    collection = table(warehouse, "jsonl", rows_of(0, 1, 2), "row")
    run = Run("one", collection, warehouse.store, Scope(ids=frozenset({"a.jsonl#2"})), quiet=True)
    (plan,) = plan_collection(run, list(collection.space))
    assert plan["encode"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_named_row_is_a_column(kind: str, warehouse: Warehouse) -> None:
    rows = [{"row": f"r{n}", "content": f"c{n}", "text": TEXTS[n]} for n in range(3)]
    for name in ("row", "content"):
        source = {"generate_id": None, "id": name}
        collection = table(warehouse, kind, rows, "", source=source)
        records = open_source(collection).scan(EVERYTHING)
        found = [record_id(record, collection) for record in records if isinstance(record, Record)]
        assert found == [f"{name[0]}{n}" for n in range(3)]
    collection = table(warehouse, kind, rows_of(0), "", source={"generate_id": None, "id": "row"})
    with pytest.raises(UserMistake) as refusal:
        pull_stage(warehouse.work(collection).run)
    assert "'row'" in refusal.value.what
    assert 'generate_id = "content"' in refusal.value.do
