"""A record that nobody can read may be that of any row which its file lacks."""

from __future__ import annotations

import pytest

from commonspace.pipeline.source.records import Scope
from tests.pipeline.run.source_files import GATES, notices, texts, things, written
from tests.support.collection_file import jsonl
from tests.support.warehouse import Warehouse, numbered_items

OPEN_QUOTE = b'"i0018,the text'
BROKEN = {
    "jsonl": [b'{"id": "i0018", "te', b"\x00\x00\x00", b'{"id": null, "text": "of whom?"}'],
    "csv": [b"i0018", b'"i0018"x,text', OPEN_QUOTE, b",the text of nobody"],
}


@pytest.mark.parametrize(
    ("kind", "broken"), [(kind, line) for kind, lines in BROKEN.items() for line in lines]
)
def test_rows_stay_that_a_file_with_an_unreadable_record_lacks(
    kind: str, broken: bytes, warehouse: Warehouse
) -> None:
    whole = written(kind, numbered_items(20))
    other = {f"b.{kind}": written(kind, numbered_items(5, first=50))}
    warehouse.run_without_error(things(warehouse, kind, {f"a.{kind}": whole, **other}))
    before = texts(warehouse)
    lines = whole.split(b"\n")
    at = next(n for n, line in enumerate(lines) if b"i0018" in line)
    lines[at] = broken
    other = {f"b.{kind}": written(kind, numbered_items(4, first=50))}
    damaged = things(warehouse, kind, {f"a.{kind}": b"\n".join(lines), **other})
    report = warehouse.run_without_error(damaged)
    # What follows a quote that is open at the end of the file may be of its text.
    told, lacking = ("file_cut", 2) if broken == OPEN_QUOTE else ("record_unreadable", 1)
    assert notices(report) == {told: (lacking, [f"a.{kind}"])}
    assert "--delete-missing" in report["notices"][0]["about"]
    assert (report["ledger"]["deleted"], report["ledger"]["rejected"]) == (1, lacking)
    assert texts(warehouse).keys() == before.keys() - {"i0054"}, "a whole file says what it lacks"
    report = warehouse.run_without_error(damaged, delete_missing=True)
    assert (report["ledger"]["deleted"], report["notices"]) == (lacking, [])
    report = warehouse.run_without_error(things(warehouse, kind, {f"a.{kind}": whole}))
    assert (report["ledger"]["kept"], report["ledger"]["rejected"]) == (24 - lacking, 0)


@pytest.mark.parametrize("behind", [b"", b"and, a comma\n"])
def test_a_file_that_is_cut_behind_a_line_break_within_quotes_deletes_nothing(
    behind: bytes, warehouse: Warehouse
) -> None:
    rows = numbered_items(10, text="first line of {}\nand, a comma\n3rd")
    whole = written("csv", rows)
    warehouse.run_without_error(things(warehouse, "csv", {"a.csv": whole}))
    before = texts(warehouse)
    cut = whole[: whole.index(b"first line of 5\n") + 16] + behind
    report = warehouse.run_without_error(things(warehouse, "csv", {"a.csv": cut}))
    assert notices(report) == {"file_cut": (5, ["a.csv"])}
    assert report["ledger"]["deleted"] == 0
    assert texts(warehouse).items() >= before.items()
    assert set(warehouse.open().rejects["retryable"].to_pylist()) == {True}


def test_a_newer_record_that_cannot_be_read_is_not_replaced_by_an_older_one(
    warehouse: Warehouse,
) -> None:
    days = {"1": [{"id": "a", "text": "old"}, {"id": "b", "text": "b"}],
            "2": [{"id": "a", "text": "new"}, {"id": "c", "text": "c"}]}  # fmt: skip
    files = {f"day/{day}.jsonl": jsonl(rows) for day, rows in days.items()}
    source = {"uri": "day/{partition}.jsonl"}
    collection = warehouse.collection(source=source, files=files, gates=GATES)
    warehouse.run_without_error(collection)
    before = texts(warehouse)
    damaged = {"day/2.jsonl": b'{"id": "a", "te\n' + jsonl(days["2"][1:])}
    collection = warehouse.collection(source=source, files=damaged, gates=GATES)
    for scope in (Scope(), Scope("2"), Scope("1")):
        report = warehouse.run_without_error(collection, scope=scope)
        assert (report["ledger"]["deleted"], texts(warehouse)) == (0, before)
