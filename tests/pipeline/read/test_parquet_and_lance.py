"""A release gives the same rows whether Parquet or LanceDB is asked, in small and in large ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.read.filters import checked_filter
from commonspace.pipeline.read.lance_rows import LanceRows
from commonspace.pipeline.read.parquet_rows import ParquetRows
from commonspace.pipeline.read.rows import VectorQuery
from commonspace.pipeline.read.served_rows import ServedRows
from commonspace.pipeline.read.space import Space
from tests.support.collection_file import jsonl
from tests.support.warehouse import Warehouse

DIM = 64
LAST_BITS = 2e-6
"""Two sums of 64 products differ by no more."""
SOURCE = {"uri": "{partition}.jsonl", "metadata": {"n": "int64", "x": "float64", "kind": "string"}}
ITEMS: list[dict[str, Any]] = [
    {
        # Every text occurs three times: rows of equal vectors, in several parts.
        "id": f"é{n}", "text": f"the text {n % 20}", "n": n % 4,
        "x": [0.0, -0.0, 1e308, None, -1.5][n % 5], "kind": ["a", "b", None][n % 3],
    }
    for n in range(60)
]  # fmt: skip


def parquet_rows(space: Space, *, small: bool) -> ParquetRows:
    reader = space._reader
    rows = ParquetRows(reader.contract, reader.release.parts, reader.read_part)
    assert rows.is_small
    rows.is_small = small
    return rows


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Space, Space]:
    """A served release, and the one before it, which LanceDB holds no longer."""
    warehouse = Warehouse.within(tmp_path_factory.mktemp("two"))
    for items in (ITEMS[:-1], ITEMS):
        files = {f"{day}.jsonl": jsonl(items[day::3]) for day in range(3)}
        warehouse.run_without_error(source=SOURCE, files=files)
    served = warehouse.open()
    return served, served.at(1)


@pytest.fixture(scope="module")
def sources(spaces: tuple[Space, Space]) -> tuple[LanceRows, list[ParquetRows]]:
    served = spaces[0]
    rows = served._reader.rows
    assert isinstance(rows, ServedRows)
    return rows.lance, [parquet_rows(served, small=True), parquet_rows(served, small=False)]


_VECTOR = st.one_of(
    st.lists(st.floats(-1, 1, width=32), min_size=DIM, max_size=DIM)
    .map(lambda numbers: np.array(numbers, np.float32))
    .filter(lambda vector: np.linalg.norm(vector) > 0.1)
    .map(lambda vector: vector / np.linalg.norm(vector)),
    st.integers(0, 59),  # the vector of that item, which others have, too
)
_WHERE = st.one_of(
    st.none(),
    st.sampled_from(["x > 0", "kind IS NULL AND n < 2", "n = 9"]),
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.lists(st.integers(0, 5), min_size=1, max_size=3),
            "x": st.sampled_from([0.0, 1e308, [-1.5, 7.0]]),
            "kind": st.sampled_from(["a", ["a", "b"], "z"]),
            "partition": st.sampled_from(["1", ["2", "9"]]),
        },
    ),
)


@settings(max_examples=40)
@given(vector=_VECTOR, k=st.integers(1, 80), where=_WHERE, some=st.booleans())
def test_the_nearest_rows_are_the_same(
    spaces: tuple[Space, Space],
    sources: tuple[LanceRows, list[ParquetRows]],
    vector: Any,
    k: int,
    where: Any,
    some: bool,
) -> None:
    served, contract = spaces[0], spaces[0]._reader.contract
    if isinstance(vector, int):
        vector = served._reader.vector_of(f"é{vector}")
    columns = ["id", "x"] if some else [name for name in contract.schema.names if name != "vector"]
    row_filter = checked_filter(contract, where)
    query = VectorQuery(vector=vector.astype(np.float32), k=k, where=row_filter, columns=columns)
    lance, parquet = sources
    expected = lance.nearest(query)
    first, second = (rows.nearest(query) for rows in parquet)
    assert first == second
    assert first.schema.types == expected.schema.types
    assert first.column_names == expected.column_names
    assert first["similarity"].type == pa.float32()
    near, near_expected = (np.array(rows["similarity"].to_pylist()) for rows in (first, expected))
    assert near.shape == near_expected.shape
    assert np.abs(near - near_expected).max(initial=0) <= LAST_BITS
    pairs = list(zip((-near).tolist(), first["id"].to_pylist(), strict=True))
    assert pairs == sorted(pairs)  # of equally near rows, the lesser id comes first
    # Which of the rows that tie with the last one are left out, LanceDB decides by their place.
    last = near[-1] + LAST_BITS if len(near) == k else -2
    rows = {row["id"]: row for row in first.drop(["similarity"]).to_pylist()}
    for row in expected.to_pylist():
        if row.pop("similarity") > last:
            assert rows.pop(row["id"]) == row
    ties = [id_ for id_, similarity in zip(first["id"].to_pylist(), near, strict=True)
            if similarity <= last]  # fmt: skip
    assert rows.keys() <= set(ties)


@settings(max_examples=30)
@given(st.lists(st.integers(-3, 70).map("é{}".format), max_size=8, unique=True))
def test_the_rows_of_ids_are_the_same(
    sources: tuple[LanceRows, list[ParquetRows]], ids: list[str]
) -> None:
    lance, parquet = sources
    expected = lance.by_ids(ids).sort_by("id").to_pylist()
    for rows in parquet:
        found = rows.by_ids(ids)
        assert found.sort_by("id").to_pylist() == expected
        assert found.schema.equals(rows._contract.schema)


def test_a_small_release_needs_no_lancedb_and_a_large_one_no_parquet(
    spaces: tuple[Space, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, older = spaces
    query = VectorQuery(vector=np.ones(DIM, np.float32) / 8, k=3, where=None, columns=["id"])
    lance, parquet = served._reader.rows.lance, served._reader.rows.parquet
    table = lance.table
    rows = ServedRows(lance, parquet)
    with monkeypatch.context() as patch:
        patch.setitem(lance.__dict__, "table", None)  # whoever asks it fails
        assert rows.nearest(query)["id"].to_pylist() == parquet.nearest(query)["id"].to_pylist()
        assert rows.by_ids(["é1"])["id"].to_pylist() == ["é1"]
    assert lance.table is table

    def unread(*_: Any) -> pa.Table:
        raise AssertionError("a part was read")

    large = ParquetRows(served._reader.contract, served.release.parts, unread)
    large.is_small = False
    rows = ServedRows(lance, large)
    assert len(rows.nearest(query)) == 3
    assert rows.by_ids(["é1"])["id"].to_pylist() == ["é1"]  # LanceDB is open
    assert older.search(id="é1", k=1)["id"].to_pylist() == ["é21"]


def test_ids_are_looked_up_only_where_they_can_be(spaces: tuple[Space, Space]) -> None:
    reader = spaces[0]._reader
    read: list[str] = []

    def reading(part: Any, columns: Any = None, ids: Any = None) -> pa.Table:
        read.append(part.key)
        return reader.read_part(part, columns, ids)

    from dataclasses import replace

    halves = [replace(part, bucket=bucket) for part in reader.release.parts for bucket in "01"]
    rows = ParquetRows(reader.contract, halves, reading)
    assert len(rows._parts_with(["é1"])) == len(reader.release.parts)
    assert rows.by_ids(["é1"]).num_rows == 1
    assert len(read) == len(reader.release.parts)
    assert rows.by_ids([]).num_rows == 0
    rows.by_ids(["é1"])
    assert len(read) == len(reader.release.parts)  # kept
