"""Stamps: a table that differs from a release in any row or column is told apart from it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.index.difference import Difference, compare_table, duplicate_ids
from commonspace.pipeline.release.parts import COMPARED_COLUMNS
from tests.support.collection_file import jsonl
from tests.support.warehouse import NAME, Warehouse

PARTITIONS, ROWS = 3, 20


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Holds three parts of twenty rows each."""
    files = {
        f"day{day}.jsonl": jsonl(
            {"id": f"{day}-{n}", "text": f"text {day} {n}"} for n in range(ROWS)
        )
        for day in range(PARTITIONS)
    }
    warehouse = Warehouse.within(tmp_path_factory.mktemp("difference"))
    warehouse.run_without_error(
        source={"uri": "{partition}.jsonl"}, files=files, gates={"max_duplicate_vectors": 1.0}
    )
    return warehouse


def contract_of(warehouse: Warehouse) -> Contract:
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    return contract


def against(warehouse: Warehouse, table: pa.Table) -> Difference:
    """How the table differs from what is served."""
    release = warehouse.open().release
    return compare_table(table, warehouse.store, contract_of(warehouse), release)


def test_equal_tables_do_not_differ(warehouse: Warehouse) -> None:
    there = warehouse.open().to_arrow(COMPARED_COLUMNS)
    assert against(warehouse, there).rows == 0
    assert against(warehouse, there.take(list(reversed(range(there.num_rows))))).rows == 0


@settings(deadline=None, max_examples=60)
@given(
    lost=st.sets(st.integers(0, PARTITIONS * ROWS - 1)),
    changed=st.dictionaries(
        st.integers(0, PARTITIONS * ROWS - 1), st.sampled_from(COMPARED_COLUMNS[1:]), max_size=30
    ),
    added=st.integers(0, 5),
)
def test_every_difference_is_found(
    warehouse: Warehouse, lost: set[int], changed: dict[int, str], added: int
) -> None:
    rows = warehouse.open().to_arrow(COMPARED_COLUMNS).to_pylist()
    places = {row["id"]: n for n, row in enumerate(rows)}
    for n, column in changed.items():
        old = rows[n][column]
        rows[n][column] = old + "x" if isinstance(old, str) else old.replace(year=1999)
    there = [row for n, row in enumerate(rows) if n not in lost]
    there += [{**rows[0], "id": f"more {n}"} for n in range(added)]
    schema = contract_of(warehouse).schema
    table = pa.Table.from_pylist(
        there, pa.schema([schema.field(name) for name in COMPARED_COLUMNS])
    )
    found = against(warehouse, table)
    assert len(found.stale) == PARTITIONS
    stale = {places[item] for part in found.stale for item in part.to_pylist()}
    assert stale == lost | changed.keys()
    assert all(
        item.startswith(f"{n}-") for n, part in enumerate(found.stale) for item in part.to_pylist()
    )
    assert found.excess.to_pylist() == [f"more {n}" for n in range(added)]


def test_a_table_with_nothing_lacks_everything(warehouse: Warehouse) -> None:
    found = against(warehouse, warehouse.open().to_arrow(COMPARED_COLUMNS).slice(0, 0))
    assert found.rows == warehouse.open().release.rows


def test_repeated_ids() -> None:
    assert duplicate_ids(pa.chunked_array([["a", "b"], ["c", "a", "a"], ["b"]])) == ["a", "b"]
    assert duplicate_ids(pa.chunked_array([], pa.string())) == []
