"""What every source promises, and what each kind survives."""

from __future__ import annotations

import json
import os
import random
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import EVERYTHING, Record, Scope, UnreadableRecord
from tests.pipeline.source.source_records import Item, records_of, rows_of, written
from tests.support.warehouse import Warehouse

KINDS = ["folder", "csv", "jsonl", "parquet"]
ROWS = [(f"{n:03}", f"text {n}, with a comma") for n in range(40)]
ROWS[7] = ("007", 'two\nlines and “quotes” "inside"')


def of_kind(kind: str, folder: str) -> dict[str, Any]:
    uri = folder if kind == "folder" else f"{folder}/*.{kind}"
    return {"kind": kind, "uri": uri, "id": "stem" if kind == "folder" else "id"}


class Case(NamedTuple):
    """One logical source in two partitions, and how to write it again."""

    kind: str
    collection: Collection
    folder: Path

    @property
    def source(self) -> Source:
        return open_source(self.collection)

    def item(self, row: Record | UnreadableRecord) -> Item:
        """The id and text of a row; a folder's id holds its partition's folder."""
        assert isinstance(row, Record), row
        text = row.values["text"]
        if isinstance(text, Path):
            return str(row.values["id"]).rpartition("/")[2], text.read_text(encoding="utf-8")
        return row.values["id"], text


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, warehouse: Warehouse, tmp_path: Path) -> Case:
    kind = request.param
    files = {f"raw/day=1/{name}": data for name, data in written(kind, ROWS[:25]).items()}
    files |= {f"raw/day=2/{name}": data for name, data in written(kind, ROWS[25:]).items()}
    collection = warehouse.collection(source=of_kind(kind, "raw/day={partition}"), files=files)
    return Case(kind, collection, tmp_path)


def test_scan_gives_every_item_once_in_a_stable_order(case: Case) -> None:
    first = list(case.source.scan(EVERYTHING))
    assert [case.item(row) for row in rows_of(first)] == ROWS
    assert list(case.source.scan(EVERYTHING)) == first


def test_locators_are_distinct_text(case: Case) -> None:
    locators = [row.locator for row in rows_of(case.source.scan(EVERYTHING))]
    assert len(set(locators)) == len(ROWS)
    assert pa.array(locators, pa.string()).to_pylist() == locators


@settings(max_examples=25)
@given(data=st.data())
def test_load_gives_what_was_scanned_in_the_order_asked(case: Case, data: st.DataObject) -> None:
    scanned = rows_of(case.source.scan(EVERYTHING))
    asked = data.draw(st.lists(st.sampled_from(scanned), max_size=60))
    loaded = list(case.source.load([row.locator for row in asked]))
    assert [row.locator for row in loaded] == [row.locator for row in asked]
    assert [row.values for row in loaded if isinstance(row, Record)] == [
        row.values for row in asked if isinstance(row, Record)
    ]
    assert [row.origin for row in loaded] == [row.origin for row in asked]


def test_a_partition_is_the_full_scan_filtered(case: Case) -> None:
    whole = rows_of(case.source.scan(EVERYTHING))
    assert [row.partition for row in whole] == ["1"] * 25 + ["2"] * 15
    for partition in ("1", "2"):
        alone = rows_of(case.source.scan(Scope(partition)))
        assert alone == [row for row in whole if row.partition == partition]


@pytest.mark.parametrize("partition", ["3", "*", "?", "[12]", "1*"])
def test_a_partition_that_is_not_there_is_not_found(case: Case, partition: str) -> None:
    with pytest.raises(SourceNotFound, match="no file or folder for partition"):
        next(case.source.scan(Scope(partition)))


@pytest.mark.parametrize("partition", ["", ".", "..", "1/../2", "../day=1", "a\0b"])
def test_a_partition_cannot_reach_elsewhere(case: Case, partition: str) -> None:
    with pytest.raises(UserMistake):
        list(case.source.scan(Scope(partition)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_without_partitions_has_none(kind: str, warehouse: Warehouse) -> None:
    files = {f"raw/{name}": data for name, data in written(kind, ROWS).items()}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    assert {row.partition for row in rows_of(source.scan(EVERYTHING))} == {None}
    with pytest.raises(UserMistake, match="has no partitions") as error:
        next(source.scan(Scope("1")))
    assert not isinstance(error.value, SourceNotFound)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_source_is_reported_before_the_first_record(
    kind: str, warehouse: Warehouse
) -> None:
    source = open_source(warehouse.collection(source=of_kind(kind, "nowhere")))
    with pytest.raises(SourceNotFound, match="no file or folder"):
        next(source.scan(EVERYTHING))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_with_wildcards_in_its_name_is_no_glob(kind: str, tmp_path: Path) -> None:
    odd = tmp_path / "a [b] * {partition} é"
    warehouse = Warehouse.within(odd)
    files = {f"raw/1/{name}": data for name, data in written(kind, ROWS).items()}
    collection = warehouse.collection(source=of_kind(kind, "raw/*"), files=files)
    source = open_source(collection)
    rows = rows_of(source.scan(EVERYTHING))
    assert len(rows) == len(ROWS)
    assert all(str(odd) not in row.origin for row in rows)
    assert [row.locator for row in source.load([r.locator for r in rows])] == [
        row.locator for row in rows
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_is_gone_is_a_value_and_the_others_load(
    kind: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    files = {f"raw/a/{name}": data for name, data in written(kind, ROWS[:3]).items()}
    files |= {f"raw/b/{name}": data for name, data in written(kind, ROWS[3:6]).items()}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw/*"), files=files))
    rows = rows_of(source.scan(EVERYTHING))
    for path in (tmp_path / "raw/a").iterdir():
        path.unlink()
    loaded = list(source.load([row.locator for row in rows]))
    assert len(loaded) == 6
    if kind != "folder":  # a folder's rows are paths: reading them is content's business
        assert [isinstance(row, UnreadableRecord) for row in loaded] == [True] * 3 + [False] * 3
        assert all(row.failure.retryable for row in loaded if isinstance(row, UnreadableRecord))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_source_that_became_shorter_answers_for_every_locator(
    kind: str, warehouse: Warehouse
) -> None:
    def make(rows: Sequence[Item]) -> Source:
        files = {f"raw/{name}": data for name, data in written(kind, rows).items()}
        return open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))

    locators = [row.locator for row in rows_of(make(ROWS).scan(EVERYTHING))]
    loaded = list(make(ROWS[:5]).load(locators))
    assert [row.locator for row in loaded] == locators
    assert all(isinstance(row, UnreadableRecord) for row in loaded[5:])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_first_record_does_not_wait_for_the_last(kind: str, warehouse: Warehouse) -> None:
    """50 MB: the first record comes at once, and a whole scan holds little of them."""
    text = "x" * 1000
    rows = [(str(n), f"{n} {text}") for n in range(50_000)]
    if kind == "parquet":
        rng = random.Random(0)
        rows = [(item, rng.randbytes(500).hex()) for item, _ in rows]  # does not compress away
    files = {f"raw/{name}": data for name, data in written(kind, rows).items()}
    if kind == "parquet":
        table = pa.table({"id": [i for i, _ in rows], "text": [t for _, t in rows]})
        out = pa.BufferOutputStream()
        pq.write_table(table, out, row_group_size=len(rows), use_dictionary=False)
        files = {"raw/data.parquet": out.getvalue().to_pybytes()}
        del table, out
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    del files, rows
    arrow_before = pa.total_allocated_bytes()
    tracemalloc.start()
    started = time.perf_counter()
    scan = source.scan(EVERYTHING)
    first = next(scan)
    waited = time.perf_counter() - started
    for _ in range(2000):
        last = next(scan)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert last.values["id"] == "2000"
    assert waited < 1
    assert peak < 5e6
    assert pa.total_allocated_bytes() - arrow_before < 10e6


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_records_offers_none(kind: str, warehouse: Warehouse) -> None:
    files = {f"raw/{name}": data for name, data in written(kind, []).items()} or {"raw/x.log": b""}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    assert not records_of(source.scan(EVERYTHING))


@pytest.mark.parametrize(
    ("uri", "names", "partitions"),
    [
        ("raw/{partition}.jsonl", ["a.jsonl", "b.jsonl"], {"a.jsonl": "a", "b.jsonl": "b"}),
        (
            "raw/{partition}/x-{partition}.jsonl",
            ["a/x-a.jsonl", "a/x-b.jsonl"],
            {"a/x-a.jsonl": "a"},
        ),
        (
            "raw/**/d={partition}/*.jsonl",
            ["p/q/d=1/a.jsonl", "d=2/b.jsonl"],
            {"p/q/d=1/a.jsonl": "1", "d=2/b.jsonl": "2"},
        ),
        (
            "raw/[!b]-{partition}.jsonl",
            ["a-1.jsonl", "b-2.jsonl", "^-3.jsonl"],
            {"a-1.jsonl": "1", "^-3.jsonl": "3"},
        ),
        (
            "raw/{partition}-*.jsonl",
            ["a-1.jsonl", "a-b-2.jsonl"],
            {"a-1.jsonl": "a", "a-b-2.jsonl": "a-b"},
        ),
        ("raw/?{partition}[[].jsonl", ["xa[.jsonl", "yb.jsonl"], {"xa[.jsonl": "a"}),
        ("raw/{partition}/é.jsonl", ["2024-01-01/é.jsonl"], {"2024-01-01/é.jsonl": "2024-01-01"}),
    ],
)
def test_the_uri_names_each_files_partition(
    uri: str, names: list[str], partitions: Mapping[str, str], warehouse: Warehouse
) -> None:
    files = {f"raw/{name}": json.dumps({"id": name, "text": "t"}).encode() for name in names}
    source = open_source(warehouse.collection(source={"uri": uri}, files=files))
    found = {row.values["id"]: row.partition for row in records_of(source.scan(EVERYTHING))}
    assert found == partitions
    for partition in set(partitions.values()):
        alone = {row.values["id"] for row in records_of(source.scan(Scope(partition)))}
        assert alone == {name for name, value in partitions.items() if value == partition}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_unreadable_file_is_not_found(kind: str, warehouse: Warehouse, tmp_path: Path) -> None:
    files = {f"raw/{name}": data for name, data in written(kind, ROWS).items()}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    (tmp_path / "raw" / f"data.{kind}").chmod(0)
    with pytest.raises(SourceNotFound, match="Permission denied"):
        list(source.scan(EVERYTHING))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_folder_where_a_file_should_be(kind: str, warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "raw" / f"data.{kind}").mkdir(parents=True)
    source = open_source(warehouse.collection(source=of_kind(kind, "raw")))
    with pytest.raises(SourceNotFound, match="directory"):
        list(source.scan(EVERYTHING))
