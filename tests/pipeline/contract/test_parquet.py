"""The warehouse's files: the same table is the same bytes, and damage is found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.contract.parquet import (
    ROW_GROUP_ROWS,
    SEAL,
    count_rows,
    parquet_bytes,
    read_row_groups,
    read_table,
)
from commonspace.pipeline.errors import ContractBroken

DIM = 8
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.field("element", pa.float32()), DIM), nullable=False),
        pa.field("n", pa.int64()),
        pa.field("x", pa.float64()),
        pa.field("ok", pa.bool_()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ],
    metadata={"commonspace": "the contract"},
)


def table(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(rows * DIM).astype(np.float32)
    some = [None if n % 7 == 3 else n for n in range(rows)]
    return pa.table(
        {
            "id": [f"item {n} é" for n in range(rows)],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(values), DIM),
            "n": some,
            "x": [None if n is None else n / 3 for n in some],
            "ok": [None if n is None else n % 2 == 0 for n in some],
            "at": [datetime.fromtimestamp(n, UTC) for n in range(rows)],
        }
    ).cast(SCHEMA)


def same(one: pa.Table, two: pa.Table) -> bool:
    """Equal columns, types and contract."""
    if not one.schema.equals(two.schema) or not one.equals(two):
        return False
    return bool(one.schema.metadata == two.schema.metadata)


@pytest.mark.parametrize("rows", [0, 1, 100, ROW_GROUP_ROWS, ROW_GROUP_ROWS + 1])
def test_a_table_comes_back(rows: int) -> None:
    written = table(rows)
    assert same(read_table(parquet_bytes(written), "key"), written)


@pytest.mark.parametrize("rows", [0, 1, ROW_GROUP_ROWS, ROW_GROUP_ROWS + 1, 3 * ROW_GROUP_ROWS])
def test_a_table_comes_back_group_by_group(rows: int) -> None:
    written = table(rows)
    groups = list(read_row_groups(parquet_bytes(written), "key"))
    assert all(0 < group.num_rows <= ROW_GROUP_ROWS for group in groups)
    assert same(pa.concat_tables([written.schema.empty_table(), *groups]), written)
    assert count_rows(parquet_bytes(written), "key") == rows


def test_some_rows_come_back_and_groups_without_them_are_not_read() -> None:
    written = table(3 * ROW_GROUP_ROWS)
    data = bytearray(parquet_bytes(written).to_pybytes())
    ids = written["id"].take([5, ROW_GROUP_ROWS - 1, 0]).combine_chunks()
    groups = pq.ParquetFile(pa.py_buffer(bytes(data))).metadata
    vector = groups.row_group(2).column(1)
    data[vector.data_page_offset + vector.total_compressed_size - 1] ^= 1  # the last page's data
    (found,) = read_row_groups(pa.py_buffer(bytes(data)), "key", ["x", "id"], ids)
    assert found.column_names == ["x", "id"]
    assert found["id"].to_pylist() == [f"item {n} é" for n in (0, 5, ROW_GROUP_ROWS - 1)]
    with pytest.raises(ContractBroken, match="damaged"):
        list(read_row_groups(pa.py_buffer(bytes(data)), "key"))


def test_some_columns_come_back_in_the_order_asked() -> None:
    data = parquet_bytes(table(10))
    assert read_table(data, "key", ["n", "id"]).column_names == ["n", "id"]
    assert read_table(data, "key", ["vector"])["vector"].equals(table(10)["vector"])


@settings(max_examples=30)
@given(
    rows=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    offset=st.integers(0, 9),
)
def test_equal_tables_give_equal_bytes(rows: int, cuts: list[int], offset: int) -> None:
    whole = table(rows)
    ends = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    pieces = [whole.slice(a, b - a) for a, b in pairwise(ends)]
    chunked = pa.concat_tables(pieces)
    padded = pa.concat_tables([table(offset, seed=1), whole]).combine_chunks().slice(offset)
    copied = pa.Table.from_pylist(whole.to_pylist(), SCHEMA)
    expected = parquet_bytes(whole)
    for twin in (chunked, padded, copied):
        assert twin.equals(whole)
        assert parquet_bytes(twin).equals(expected)


def test_another_table_gives_other_bytes() -> None:
    assert not parquet_bytes(table(10)).equals(parquet_bytes(table(10, seed=1)))


def test_every_engine_reads_the_file(tmp_path: Path) -> None:
    path, written = tmp_path / "part.parquet", table(5000)
    path.write_bytes(parquet_bytes(written))
    assert pq.read_table(path, page_checksum_verification=True).equals(written)
    assert pl.read_parquet(path)["id"].to_list() == written["id"].to_pylist()
    query = f"select id, vector[1], n from '{path}' order by \"at\""
    rows = duckdb.sql(query).fetchall()
    expected = zip(
        written["id"].to_pylist(),
        [vector[0] for vector in written["vector"].to_pylist()],
        written["n"].to_pylist(),
        strict=True,
    )
    assert rows == list(expected)


def flips(data: bytes, count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    rng = random.Random(seed)
    for _ in range(count):
        at = rng.randrange(len(data))
        yield at, data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


@pytest.mark.parametrize("rows", [3, 300, ROW_GROUP_ROWS + 10])
def test_a_flipped_bit_is_found_or_harmless(rows: int) -> None:
    written = table(rows)
    data = parquet_bytes(written).to_pybytes()
    found = 0
    for at, damaged in flips(data, 400, seed=rows):
        try:
            back = read_table(pa.py_buffer(damaged), "the key")
        except ContractBroken:
            found += 1
        else:
            assert same(back, written), f"byte {at} of {len(data)}"
    assert found >= 360


def test_a_flipped_bit_anywhere_in_the_footer_is_found() -> None:
    data = parquet_bytes(table(50)).to_pybytes()
    start = data.rindex(SEAL)
    for at in range(start, len(data)):
        damaged = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        with pytest.raises(ContractBroken, match="is damaged"):
            read_table(pa.py_buffer(damaged), "key")


def test_a_cut_or_foreign_file_is_found() -> None:
    data = parquet_bytes(table(50)).to_pybytes()
    cuts = [data[:n] for n in (0, 1, 4, 7, 8, 12, len(data) // 2, len(data) - 1)]
    foreign = pa.BufferOutputStream()
    pq.write_table(table(50), foreign)
    others = [b"PAR1" * 3, bytes(1000), b"\xff" * 1000, data + b"\0", b"\0" + data,
              foreign.getvalue().to_pybytes()]  # fmt: skip
    for damaged in [*cuts, *others]:
        with pytest.raises(ContractBroken, match="is damaged"):
            read_table(pa.py_buffer(damaged), "key")


def test_vectors_are_stored_byte_by_byte_and_all_else_by_dictionary() -> None:
    """What makes files small; any reader knows these encodings."""
    group = pq.ParquetFile(parquet_bytes(table(1000))).metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["vector.list.element"].encodings
    assert "RLE_DICTIONARY" not in columns["vector.list.element"].encodings
    assert "RLE_DICTIONARY" in columns["id"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    plain = parquet_bytes(table(10).drop(["vector"]))
    assert same(read_table(plain, "key"), table(10).drop(["vector"]))
