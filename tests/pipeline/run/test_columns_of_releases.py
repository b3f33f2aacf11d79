"""Metadata columns come and go without a new version: nothing is encoded, and nothing is lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import FACTS
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.layout import release_key
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.publish.manual import roll_back
from commonspace.pipeline.read.space import Space
from commonspace.pipeline.release.manifest import canonical_digest, load_release
from commonspace.pipeline.source.records import Scope
from tests.support.collection_file import jsonl
from tests.support.warehouse import NAME, Warehouse, numbered_items

ITEMS = [
    {**item, "title": f"t{n}", "genre": f"g{n}", "pages": str(n)}
    for n, item in enumerate(numbered_items(9))
]
LIMITS: dict[str, Any] = {"gates": {"max_duplicate_vectors": 1.0, "max_drift": 1.0}}


def run(warehouse: Warehouse, metadata: Any, **options: Any) -> Space:
    """What a run with these metadata columns publishes; it must not encode."""
    report = warehouse.run_without_error(ITEMS, source={"metadata": metadata}, **LIMITS, **options)
    assert report["ledger"]["encoded"] == 0 or report["release"] == 1
    assert warehouse.verify()["ok"], warehouse.verify()["problems"]
    return warehouse.open()


def values(space: Space, column: str) -> list[Any]:
    """The column by id, as LanceDB and Parquet have it."""
    stored = space.to_arrow(["id", column]).sort_by("id")[column].to_pylist()
    ids = [item["id"] for item in ITEMS]
    assert space.get(ids)[column].to_pylist() == stored
    return stored


def vectors(space: Space) -> pa.ChunkedArray:
    return space.to_arrow().sort_by("id")["vector"].combine_chunks()


def test_a_column_is_added_dropped_and_added_again(warehouse: Warehouse) -> None:
    first = run(warehouse, ["title"])
    added = run(warehouse, ["title", "genre"])
    assert values(added, "genre") == [item["genre"] for item in ITEMS]
    assert added.release.ledger["reused"] == len(ITEMS)
    assert vectors(added).equals(vectors(first))
    dropped = run(warehouse, ["genre"])
    assert "title" not in dropped.to_arrow().column_names
    again = run(warehouse, {"genre": "string", "title": "string"})
    assert values(again, "title") == [item["title"] for item in ITEMS]
    assert run(warehouse, ["title", "genre"]).release.number == again.release.number
    # Each release keeps its own columns, in the manifest and for readers.
    assert [
        sorted({"title", "genre"} & {*again.at(n).to_arrow().column_names}) for n in range(1, 5)
    ] == [["title"], ["genre", "title"], ["genre"], ["genre", "title"]]
    assert load_release(warehouse.store, NAME, 3).columns == {"genre": "string"}
    assert "genre" not in again.at(1).search(vector=first.to_arrow()["vector"][0].as_py())
    # A reader that opened an earlier release goes on with it.
    assert values(first, "title") == [item["title"] for item in ITEMS]
    assert "genre" not in first.get(["i0000"]).column_names


def test_a_column_of_every_type_is_added(warehouse: Warehouse) -> None:
    run(warehouse, [])
    types = {"a": "int64", "b": "float64", "c": "bool", "d": "timestamp", "e": "string"}
    given = {"a": 3, "b": 0.5, "c": True, "d": "2026-11-30T00:00:00+00:00", "e": "ö"}
    items = [{**item, **given} if n % 2 else item for n, item in enumerate(ITEMS)]
    report = warehouse.run_without_error(items, source={"metadata": types}, **LIMITS)
    assert (report["ledger"]["encoded"], report["ledger"]["reused"]) == (0, len(ITEMS))
    assert warehouse.verify()["ok"]
    space = warehouse.open()
    assert values(space, "a") == [3 if n % 2 else None for n in range(len(ITEMS))]
    assert values(space, "e") == ["ö" if n % 2 else None for n in range(len(ITEMS))]
    assert len(space.search(vector=[1.0] * 64, where={"c": True})) == len(ITEMS) // 2


def test_the_type_of_a_column_needs_a_new_version(warehouse: Warehouse) -> None:
    run(warehouse, {"title": "string", "genre": "string"})
    with pytest.raises(ContractBroken) as refusal:
        run(warehouse, {"title": "int64", "text": "string"})
    assert refusal.value.what.splitlines()[1:] == ["  metadata column title: string -> int64"]
    assert "version = 2" in refusal.value.do
    assert warehouse.open().release.number == 1


PARTITIONS = {"a": ITEMS[:4], "b": ITEMS[4:]}


def partitioned(warehouse: Warehouse, metadata: Any) -> Collection:
    return warehouse.collection(
        source={"metadata": metadata, "uri": "p/{partition}.jsonl"},
        files={f"p/{name}.jsonl": jsonl(rows) for name, rows in PARTITIONS.items()},
        **LIMITS,
    )


def run_partition(warehouse: Warehouse, metadata: Any, scope: Scope) -> Space:
    report = warehouse.run_without_error(partitioned(warehouse, metadata), scope=scope)
    assert report["ledger"]["encoded"] == 0
    assert warehouse.verify()["ok"], warehouse.verify()["problems"]
    return warehouse.open()


def same(one: pa.Table, other: pa.Table) -> bool:
    return one.sort_by("id").combine_chunks().equals(other.sort_by("id").combine_chunks())


def test_other_partitions_are_null_until_they_are_run(warehouse: Warehouse) -> None:
    warehouse.run_without_error(partitioned(warehouse, ["title"]))
    before = {part.partition: part.key for part in warehouse.open().release.parts}
    space = run_partition(warehouse, ["title", "genre"], Scope(partition="a"))
    assert values(space, "genre") == ["g0", "g1", "g2", "g3", *[None] * 5]
    assert before["b"] in {part.key for part in space.release.parts}
    assert len(space.search(vector=[1.0] * 64, where={"genre": "g2"})) == 1
    # A row of the untouched partition: the others of its part are null still.
    space = run_partition(warehouse, ["title", "genre"], Scope(ids=frozenset(["i0005"])))
    assert values(space, "genre") == ["g0", "g1", "g2", "g3", None, "g5", None, None, None]
    space = run_partition(warehouse, ["title", "genre"], Scope(partition="b"))
    assert values(space, "genre") == [item["genre"] for item in ITEMS]


def test_a_value_that_was_dropped_comes_back_with_the_column(warehouse: Warehouse) -> None:
    """Whichever rows of its part were written meanwhile, under which columns."""
    warehouse.run_without_error(partitioned(warehouse, ["title", "genre"]))
    dropped = run_partition(warehouse, ["title"], Scope(ids=frozenset(["i0000", "i0005"])))
    assert "genre" not in dropped.to_arrow().column_names
    space = run_partition(warehouse, ["title", "genre"], Scope(ids=frozenset(["i0000"])))
    assert values(space, "genre")[0] == "g0"
    space = run_partition(warehouse, ["title", "genre"], Scope())
    assert values(space, "genre") == [item["genre"] for item in ITEMS]
    every = [space.at(one.number) for one in space.releases()]
    for since, until in itertools.product(every, every):
        changes = until.changes(since.release.number)
        assert same(changes.apply(since.to_arrow()), until.to_arrow())


def test_an_untouched_part_still_has_the_column_that_comes_back(warehouse: Warehouse) -> None:
    warehouse.run_without_error(partitioned(warehouse, ["title", "genre"]))
    run_partition(warehouse, ["title"], Scope(partition="a"))
    space = run_partition(warehouse, ["title", "genre"], Scope(partition="a"))
    assert values(space, "genre") == [item["genre"] for item in ITEMS]
    older = space.at(2)
    assert same(space.changes(2).apply(older.to_arrow()), space.to_arrow())
    assert same(older.changes(3).apply(space.to_arrow()), older.to_arrow())


def test_a_column_that_is_declared_anew_with_another_type(warehouse: Warehouse) -> None:
    """What was stored under the name before is not of the column."""
    warehouse.run_without_error(partitioned(warehouse, {"pages": "string"}))
    run_partition(warehouse, [], Scope(partition="a"))
    space = run_partition(warehouse, {"pages": "int64"}, Scope(partition="a"))
    assert values(space, "pages") == [0, 1, 2, 3, *[None] * 5]
    older = space.at(1)
    assert older.to_arrow()["pages"].to_pylist() == [item["pages"] for item in ITEMS]
    assert same(space.changes(1).apply(older.to_arrow()), space.to_arrow())
    assert same(older.changes(3).apply(space.to_arrow()), older.to_arrow())
    assert values(run_partition(warehouse, {"pages": "int64"}, Scope()), "pages") == [*range(9)]


def test_a_value_comes_back_with_the_type_of_its_column(warehouse: Warehouse) -> None:
    """Also in rows that were written under the other type, for the sake of their part."""
    warehouse.run_without_error(partitioned(warehouse, {"pages": "string"}))
    run_partition(warehouse, [], Scope(partition="a"))
    space = run_partition(warehouse, {"pages": "int64"}, Scope(ids=frozenset(["i0005"])))
    assert values(space, "pages") == [*[None] * 5, 5, None, None, None]
    run_partition(warehouse, [], Scope(partition="a"))
    space = run_partition(warehouse, {"pages": "string"}, Scope())
    assert values(space, "pages") == [item["pages"] for item in ITEMS]


def test_a_rollback_takes_the_columns_back(warehouse: Warehouse) -> None:
    run(warehouse, ["title"])
    run(warehouse, ["title", "genre"])
    roll_back(warehouse.store, NAME)
    space = warehouse.open()
    assert "genre" not in space.get(["i0000"]).column_names
    assert warehouse.verify()["ok"]
    (warehouse.root / "lancedb/things__text__v1.lance/_versions").rename(warehouse.root / "lost")
    assert warehouse.verify(repair=True)["repaired"]
    assert "genre" not in warehouse.open().get(["i0000"]).column_names


def test_a_damaged_part_with_earlier_columns_is_restored(warehouse: Warehouse) -> None:
    warehouse.run_without_error(partitioned(warehouse, ["title"]))
    space = run_partition(warehouse, ["title", "genre"], Scope(partition="a"))
    for part in space.release.parts:
        (warehouse.root / part.key).unlink()
    restored = warehouse.verify(repair=True)
    assert restored["repaired"], restored["problems"]
    assert warehouse.verify()["ok"]


def rewrite_as_written_before(warehouse: Warehouse, number: int) -> None:
    """A manifest as commits wrote it when a space could not change its columns."""
    key = release_key(NAME, number)
    document = json.loads((warehouse.root / key).read_text())
    del document["columns"], document["sha256"]
    document["sha256"] = canonical_digest(document)
    (warehouse.root / key).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def test_a_release_without_columns_in_its_manifest(warehouse: Warehouse) -> None:
    run(warehouse, ["title"])
    rewrite_as_written_before(warehouse, 1)
    assert run(warehouse, ["title"]).release.number == 1
    assert run(warehouse, ["genre"]).at(1).to_arrow(["title"])["title"].null_count == 0
    with pytest.raises(ContractBroken, match="metadata column genre: string -> bool"):
        run(warehouse, {"genre": "bool"})


def test_rows_from_before_a_column_of_provenance(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read with nulls, verified and run again; new rows have the column."""
    facts: Mapping[str, type] = FACTS["text"]
    with monkeypatch.context() as earlier:
        fewer = {name: kind for name, kind in facts.items() if name != "text_rules"}
        earlier.setitem(FACTS, "text", fewer)  # type: ignore[index]
        given = HashedEncoder._facts
        earlier.setattr(HashedEncoder, "_facts", lambda *a: {n: given(*a)[n] for n in fewer})
        warehouse.run_without_error(ITEMS, **LIMITS)
        assert "text_rules" not in warehouse.open().to_arrow().column_names
    space = warehouse.open()
    assert warehouse.verify()["ok"]
    assert values(space, "text_rules") == [None] * len(ITEMS)
    assert space.search(vector=[1.0] * 64, k=1)["text_rules"].to_pylist() == [None]
    assert len(space.search(vector=[1.0] * 64, where={"text_rules": "x"})) == 0
    assert warehouse.run_without_error(ITEMS, **LIMITS)["state"] == "unchanged"
    more = [*ITEMS, {"id": "new", "text": "a new text"}]
    report = warehouse.run_without_error(more, **LIMITS)
    assert (report["ledger"]["encoded"], report["ledger"]["kept"]) == (1, len(ITEMS))
    found = warehouse.open().get(["new", "i0000"])["text_rules"].to_pylist()
    assert (found[0] is None, found[1]) == (False, None)
    assert warehouse.verify()["ok"]
