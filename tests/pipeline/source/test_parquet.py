"""Parquet as a source: only what is named is read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Scope
from tests.pipeline.source.source_records import Scan, outcome, record, records_of, rows_of
from tests.support.warehouse import Warehouse


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table, out, **options)
    return bytes(out.getvalue().to_pybytes())


def test_parquet_reads_only_what_is_named(warehouse: Warehouse) -> None:
    table = pa.table({"id": [1, 2], "text": ["a", "b"], "image": [b"\x89PNG", None], "z": [0, 0]})
    spaces = [{"name": "i", "encoder": "hashed/64", "image": "image"}]
    source = open_source(
        warehouse.collection(
            source={"kind": "parquet", "uri": "x.parquet"}, spaces=spaces,
            files={"x.parquet": parquet(table, row_group_size=1)},
        )
    )  # fmt: skip
    rows = records_of(source.scan(EVERYTHING))
    assert [row.values for row in rows] == [
        {"id": 1, "image": b"\x89PNG"}, {"id": 2, "image": None},
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("group", [1, 100, 256, 1000])
def test_parquet_row_groups_of_any_size(rows: int, group: int, scan: Scan) -> None:
    table = pa.table({"id": pa.array(range(rows)), "text": pa.array(map(str, range(rows)))})
    found = outcome(scan("parquet", parquet(table, row_group_size=group)))
    assert found == [record(n, str(n)) for n in range(rows)]  # type: ignore[arg-type]


def test_text_that_is_no_utf8_is_bytes_and_its_neighbours_are_text(scan: Scan) -> None:
    binary = pa.array([b"a", b"\xff", b"c"])
    text = pa.StringArray.from_buffers(3, binary.buffers()[1], binary.buffers()[2])
    rows = scan("parquet", parquet(pa.table({"id": ["1", "2", "3"], "text": text})))
    assert outcome(rows) == [record("1", "a"), record("2", b"\xff"), record("3", "c")]


def test_a_column_that_only_some_files_have(warehouse: Warehouse) -> None:
    old = pa.table({"id": ["1"], "text": ["a"]})
    new = pa.table({"genre": ["novel"], "text": ["b"], "id": ["2"]})
    files = {"2025.parquet": parquet(old), "2026.parquet": parquet(new), "2027.parquet": parquet(
        pa.table({"other": [1, 2]})
    )}  # fmt: skip
    source = {"kind": "parquet", "uri": "*.parquet", "metadata": ["genre"]}
    opened = open_source(warehouse.collection(source=source, files=files))
    rows = records_of(opened.scan(EVERYTHING))
    assert [row.values for row in rows] == [
        record("1", "a"), {**record("2", "b"), "genre": "novel"}, {}, {},
    ]  # fmt: skip
    assert list(opened.load([row.locator for row in rows])) == rows


def test_a_column_that_no_file_has_is_a_mistake_of_a_whole_scan(warehouse: Warehouse) -> None:
    files = {f"{n}.parquet": parquet(pa.table({"id": ["1"], "texts": ["a"]})) for n in "12"}
    source = open_source(
        warehouse.collection(source={"kind": "parquet", "uri": "{partition}.parquet"}, files=files)
    )
    with pytest.raises(UserMistake, match=r"no column 'text' \(did you mean 'texts'\?\)") as error:
        list(source.scan(EVERYTHING))
    assert not isinstance(error.value, SourceNotFound)
    assert outcome(rows_of(source.scan(Scope("1")))) == [{"id": "1"}]


def test_a_repeated_column_is_refused_where_it_is_named(scan: Scan) -> None:
    arrays = [pa.array(["1"]), pa.array(["a"]), pa.array([1]), pa.array([2])]
    data = parquet(pa.Table.from_arrays(arrays, ["id", "text", "n", "n"]))
    assert outcome(scan("parquet", data)) == [record("1", "a")]
    with pytest.raises(UserMistake, match="more than one column 'n'"):
        scan("parquet", data, metadata=["n"])


def test_a_column_with_a_dot_is_no_field_of_a_struct(scan: Scan) -> None:
    table = pa.table({"id": ["1"], "text": ["a"], "a": [{"b": "inner"}]})
    with pytest.raises(UserMistake, match=r"no column 'a\.b'"):
        scan("parquet", parquet(table), id="a.b")


def test_impalas_timestamps_reach_the_year_9999(scan: Scan) -> None:
    last = datetime(9999, 12, 31)
    table = pa.table({"id": ["1"], "text": pa.array([last], pa.timestamp("us"))})
    data = parquet(table, use_deprecated_int96_timestamps=True)
    assert outcome(scan("parquet", data)) == [{"id": "1", "text": last}]
