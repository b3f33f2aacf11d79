"""Stamps: a table that differs from a release in any row or column is told apart from it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.index.difference import Difference, compare_table, duplicate_ids
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.release.parts import COMPARED_COLUMNS
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.store import open_store
from commonspace.pipeline.workspace.work import Run

PARTITIONS, ROWS = 3, 20


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    """Three parts of twenty rows each."""
    from commonspace.pipeline.config.files import load_collection

    folder = tmp_path_factory.mktemp("stamps")
    for day in range(PARTITIONS):
        lines = [f'{{"id": "{day}-{n}", "text": "text {day} {n}"}}' for n in range(ROWS)]
        (folder / f"day{day}.jsonl").write_text("\n".join(lines))
    (folder / "things.toml").write_text(
        '[collection]\nname = "things"\nowner = "team"\n'
        '[source]\nkind = "jsonl"\nuri = "{partition}.jsonl"\nid = "id"\n'
        '[[space]]\nname = "text"\nencoder = "hashed/32"\nfields = ["text"]\n'
        "[gates]\nmax_duplicate_vectors = 1.0\n"
    )
    store = open_store(str(folder / "warehouse"))
    run = Run(new_run_id(), load_collection(folder / "things.toml"), store, quiet=True)
    (report,) = run_collection(run, list(run.collection.space), log=lambda _: None)
    assert "error" not in report, report
    return open_space("things/text", warehouse=store.address)


def against(space: Space, there: pa.Table) -> Difference:
    return compare_table(there, space._reader.store, space._reader.contract, space.release)


def test_equal_tables_do_not_differ(space: Space) -> None:
    there = space.to_arrow(COMPARED_COLUMNS)
    assert against(space, there).rows == 0
    assert against(space, there.take(list(reversed(range(there.num_rows))))).rows == 0


@settings(deadline=None, max_examples=60)
@given(
    lost=st.sets(st.integers(0, PARTITIONS * ROWS - 1)),
    changed=st.dictionaries(
        st.integers(0, PARTITIONS * ROWS - 1), st.sampled_from(COMPARED_COLUMNS[1:]), max_size=30
    ),
    added=st.integers(0, 5),
)
def test_every_difference_is_found(
    space: Space, lost: set[int], changed: dict[int, str], added: int
) -> None:
    rows = space.to_arrow(COMPARED_COLUMNS).to_pylist()
    places = {row["id"]: n for n, row in enumerate(rows)}
    for n, column in changed.items():
        old = rows[n][column]
        rows[n][column] = old + "x" if isinstance(old, str) else old.replace(year=1999)
    there = [row for n, row in enumerate(rows) if n not in lost]
    there += [{**rows[0], "id": f"more {n}"} for n in range(added)]
    schema = space._reader.contract.schema
    table = pa.Table.from_pylist(there, pa.schema([schema.field(name) for name in COMPARED_COLUMNS]))
    found = against(space, table)
    assert len(found.stale) == PARTITIONS
    stale = {places[item] for part in found.stale for item in part.to_pylist()}
    assert stale == lost | changed.keys()
    assert all(
        item.startswith(f"{n}-") for n, part in enumerate(found.stale) for item in part.to_pylist()
    )
    assert found.excess.to_pylist() == [f"more {n}" for n in range(added)]


def test_a_table_with_nothing_lacks_everything(space: Space) -> None:
    found = against(space, space.to_arrow(COMPARED_COLUMNS).slice(0, 0))
    assert found.rows == space.release.rows


def test_repeated_ids() -> None:
    assert duplicate_ids(pa.chunked_array([["a", "b"], ["c", "a", "a"], ["b"]])) == ["a", "b"]
    assert duplicate_ids(pa.chunked_array([], pa.string())) == []
