"""Where a reject is: written, shown, kept while nothing else changes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.contract.layout import rejects_folder
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.publish.rejects import write_rejects
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA, reject_row
from tests.support.collection_file import jsonl
from tests.support.warehouse import NAME, Warehouse, numbered_items

GATES = {"max_reject_share": 0.5}
BROKEN = b'{"id": "x", "text": "te\n'
EMPTY = b'{"id": "e", "text": " "}\n'


def run(warehouse: Warehouse, data: bytes, **options: Any) -> dict[str, Any]:
    options = {"gates": GATES, **options}
    return warehouse.run(files={"things.jsonl": data}, **options)


def places(warehouse: Warehouse) -> dict[str, str]:
    return {row["reason"]: row["place"] for row in warehouse.open().rejects.to_pylist()}


def test_rejects_of_pull_and_of_encode_say_where(warehouse: Warehouse) -> None:
    good = jsonl(numbered_items(4))
    assert run(warehouse, good + BROKEN + EMPTY)["ledger"]["rejected"] == 2
    at = len(good)
    expected = {
        "bad_record": f"record 5, line 5, byte {at}",
        "empty_text": f"record 6, line 6, byte {at + len(BROKEN)}",
    }
    assert places(warehouse) == expected


def test_a_line_above_makes_no_release_and_the_next_one_says_where_they_are_now(
    warehouse: Warehouse,
) -> None:
    good, broken = jsonl(numbered_items(4)), BROKEN + EMPTY
    first = run(warehouse, good + broken)
    before = places(warehouse)
    assert run(warehouse, b"\n" + good + broken)["release"] == first["release"]
    assert places(warehouse) == before
    more = b"\n" + jsonl(numbered_items(5))
    assert run(warehouse, more + broken)["release"] == first["release"] + 1
    at = len(more)
    assert places(warehouse) == {
        "bad_record": f"record 6, line 7, byte {at}",
        "empty_text": f"record 7, line 8, byte {at + len(BROKEN)}",
    }


def test_a_refusal_says_where(warehouse: Warehouse) -> None:
    good = jsonl(numbered_items(4))
    error = run(warehouse, good + BROKEN + EMPTY, gates={"max_reject_share": 0.1})["do"]
    assert f"'things.jsonl', record 5, line 5, byte {len(good)}: is not valid JSON" in error
    assert f"record 6, line 6, byte {len(good + BROKEN)}: " in error
    assert "line 1" not in error


def test_passages_have_the_place_of_their_record(warehouse: Warehouse) -> None:
    space = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "overflow": "rows"}
    good = jsonl(numbered_items(4))
    run(warehouse, good + EMPTY, spaces=[space])
    assert places(warehouse) == {"empty_text": f"record 5, line 5, byte {len(good)}"}


def row(place: str | None, run: str, message: str = "m") -> dict[str, Any]:
    return reject_row(
        Failure(Reason.BAD_RECORD, message), stage="pull", run=run, source_uri="a.csv", place=place
    )


@pytest.mark.parametrize("is_changed", [False, True])
def test_records_that_differ_only_in_their_place_keep_one_each(
    is_changed: bool, warehouse: Warehouse
) -> None:
    old = pa.Table.from_pylist([row(place, "first") for place in "ab"], REJECTS_SCHEMA)
    new = [row(place, "second") for place in "bc"]
    write_rejects(warehouse.store, NAME, new, old, is_changed=is_changed)
    (key,) = warehouse.store.list(rejects_folder(NAME))
    found = pq.read_table(warehouse.root / key)
    assert found["place"].to_pylist() == (["b", "c"] if is_changed else ["a", "b"])
    assert found["run"].to_pylist() == ["first", "first"]


def test_a_file_without_any_place_is_written_as_before(warehouse: Warehouse) -> None:
    entry = write_rejects(
        warehouse.store, NAME, [row(None, "r")], REJECTS_SCHEMA.empty_table(), is_changed=True
    )
    assert entry is not None
    assert "place" not in pq.read_schema(warehouse.root / entry["key"]).names


def test_rejects_of_before_there_were_places_get_them_once(warehouse: Warehouse) -> None:
    def write(place: str, old: pa.Table) -> pa.Table:
        entry = write_rejects(warehouse.store, NAME, [row(place, "r")], old, is_changed=False)
        assert entry is not None
        return pq.read_table(warehouse.root / entry["key"])

    old = pa.Table.from_pylist([row(None, "r")], REJECTS_SCHEMA)
    once = write("a", old)
    assert once["place"].to_pylist() == ["a"]
    assert write("b", once).equals(once)


def test_a_file_of_before_there_were_places_reads_as_null(warehouse: Warehouse) -> None:
    run(warehouse, jsonl(numbered_items(4)) + BROKEN)
    release = warehouse.open().release
    assert release.rejects is not None
    path = warehouse.root / str(release.rejects["key"])
    path.write_bytes(parquet_bytes(pq.read_table(path).drop_columns(["place"])).to_pybytes())
    assert warehouse.open().rejects["place"].to_pylist() == [None]
    assert warehouse.open().rejects.schema == REJECTS_SCHEMA
