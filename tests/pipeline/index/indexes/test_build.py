"""When an index is built, kept up, left out or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.layout import current_key, release_key
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.publish.promote import Promotion, serve
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import RollbackHold, load_current
from tests.pipeline.index.indexes.indexed_items import alike, declared, pointer, rows
from tests.support.warehouse import NAME, Warehouse


def test_small_tables_have_none(warehouse: Warehouse) -> None:
    report = warehouse.run(declared(warehouse, rows(40), vector_index="auto"))
    assert "index_recall" not in {gate["name"] for gate in report["gates"]}
    assert pointer(warehouse).indexes is None
    assert "indices" not in json.loads((warehouse.root / current_key(NAME)).read_text())
    assert "index" not in json.loads((warehouse.root / release_key(NAME, 1)).read_text())["index"]
    assert connect(warehouse.address).open_table(NAME.table).list_indices() == []
    assert warehouse.open().vector_index is None


def test_an_index_that_is_asked_for_later_comes_with_a_release_of_the_same_rows(
    warehouse: Warehouse,
) -> None:
    warehouse.run(declared(warehouse, rows(400), vector_index="auto"))
    parts = warehouse.open().files()
    report = warehouse.run(declared(warehouse, rows(400)))
    assert report["state"] == "promoted"
    assert report["gates"][-1]["name"] == "index_recall"
    assert warehouse.open().files() == parts
    assert warehouse.open().vector_index is not None
    before = (warehouse.root / current_key(NAME)).read_bytes()
    assert warehouse.run(declared(warehouse, rows(400)))["state"] == "unchanged"
    assert (warehouse.root / current_key(NAME)).read_bytes() == before
    warehouse.run(declared(warehouse, rows(400), vector_index="none"))
    assert warehouse.open().vector_index is None
    assert connect(warehouse.address).open_table(NAME.table).list_indices() == []
    assert warehouse.verify()["ok"]


def test_a_small_tail_is_left_and_a_large_one_is_taken_in(warehouse: Warehouse) -> None:
    def listed() -> Any:
        (one,) = connect(warehouse.address).open_table(NAME.table).list_indices()
        return one

    warehouse.run(declared(warehouse, rows(400)))
    first = listed().index_uuid
    warehouse.run(declared(warehouse, rows(420)))
    assert (listed().index_uuid, listed().num_unindexed_rows) == (first, 20)
    assert warehouse.open().search(id="i00410", k=400).num_rows == 400
    warehouse.run(declared(warehouse, rows(500)))
    assert listed().num_unindexed_rows == 0
    assert (listed().num_segments, pointer(warehouse).indexes.vector.trained_rows) == (2, 400)  # type: ignore[union-attr]
    warehouse.run(declared(warehouse, rows(900)))
    assert listed().num_segments == 1
    assert pointer(warehouse).indexes.vector.trained_rows == 900  # type: ignore[union-attr]
    assert warehouse.verify()["ok"]


def test_an_index_that_finds_too_little_is_not_served(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, rows(300), vector_index="none"))
    served = warehouse.open()
    report = warehouse.run(declared(warehouse, alike(400), min_index_recall=1.0))
    assert report["error"] == "GateRefused"
    assert "index_recall" in report["what"]
    assert "min_index_recall is 100.0%" in report["what"]
    assert "min_index_recall" in report["do"]
    assert pointer(warehouse).release == 1
    assert (
        load_pending_promotion(warehouse.store, NAME) is None
    )  # LanceDB is back at what is served
    assert connect(warehouse.address).open_table(NAME.table).count_rows() == 300
    assert served.search(id="i00003").num_rows == 10
    assert warehouse.verify()["ok"]
    report = warehouse.run(declared(warehouse, alike(400), min_index_recall=0.0))
    assert report["state"] == "promoted"
    assert report["gates"][-1]["value"] < 1.0
    assert warehouse.open().search(id="i00003").num_rows == 10
    warehouse.run(declared(warehouse, alike(400), vector_index="none"))
    assert warehouse.open().vector_index is None


def test_the_first_release_can_be_refused(warehouse: Warehouse) -> None:
    report = warehouse.run(declared(warehouse, alike(400), min_index_recall=1.0))
    assert report["error"] == "GateRefused"
    assert load_current(warehouse.store, NAME) is None
    assert warehouse.run(declared(warehouse, alike(400), vector_index="none"))["state"] == (
        "promoted"
    )


def test_a_rollback_has_the_index_that_its_release_wants(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, rows(400)))
    warehouse.run(declared(warehouse, rows(450, seed=1), vector_index="none"))
    assert warehouse.open().vector_index is None
    roll_back(warehouse.store, NAME)
    index = warehouse.open().vector_index
    assert index is not None
    assert index.trained_rows == 400
    assert index.recall >= 0.95
    assert warehouse.verify()["ok"]


def test_a_rollback_is_not_refused_for_its_index(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, rows(300), vector_index="none"))
    run = declared(warehouse, alike(400), min_index_recall=1.0)
    assert warehouse.run(run, promote=False)["state"] == "candidate"
    contract, release = load_contract(warehouse.store, NAME), load_release(warehouse.store, NAME, 2)
    assert contract is not None
    hold = RollbackHold("2026-01-01T00:00:00+00:00")
    rollback = Promotion(release=release, by="rollback", after=1, hold=hold)
    assert serve(warehouse.store, NAME, contract, rollback)
    space = warehouse.open()
    assert space.vector_index is not None
    assert space.vector_index.is_weak
    at = space.to_arrow(["id", "vector"]).slice(7, 1).to_pylist()[0]
    by_index, exact = (space.search(vector=at["vector"], k=10, exact=e) for e in (False, True))
    assert by_index["similarity"].equals(exact["similarity"])
    assert warehouse.verify()["ok"]


def test_a_filter_finds_every_row_after_a_refusal(warehouse: Warehouse) -> None:
    """The refused promotion has trained the index again, over many more rows."""
    few = rows(600)
    warehouse.run(declared(warehouse, few))
    more = [{**item, "id": f"x{item['id']}"} for item in alike(2400)]
    report = warehouse.run(declared(warehouse, [*few, *more], min_index_recall=1.0))
    assert report["error"] == "GateRefused"
    space = warehouse.open()
    at = space.to_arrow(["vector"])["vector"][0].as_py()
    hits = space.search(vector=at, k=100, where={"tag": "rare"})
    assert hits.num_rows == 12
    assert hits["id"].equals(
        space.search(vector=at, k=100, where={"tag": "rare"}, exact=True)["id"]
    )


def test_a_first_release_that_is_refused_leaves_no_announcement(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, alike(400), min_index_recall=1.0), promote=False)
    with pytest.raises(GateRefused):
        promote_by_hand(warehouse.store, NAME)
    assert load_pending_promotion(warehouse.store, NAME) is None
    warehouse.run(declared(warehouse, alike(400), vector_index="none"), promote=False)
    assert promote_by_hand(warehouse.store, NAME).release == 2


def test_a_weak_index_of_the_served_release_does_not_keep_a_hold(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, rows(300), vector_index="none"))
    run = declared(warehouse, alike(400), min_index_recall=1.0)
    warehouse.run(run, promote=False)
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    hold = RollbackHold("2026-01-01T00:00:00+00:00")
    release = load_release(warehouse.store, NAME, 2)
    rollback = Promotion(release=release, by="rollback", after=1, hold=hold)
    serve(warehouse.store, NAME, contract, rollback)
    served = pointer(warehouse)
    assert warehouse.run(run)["state"] == "unchanged"
    assert pointer(warehouse).table_version == served.table_version, "it is not trained each time"
    assert promote_by_hand(warehouse.store, NAME, 2).lifted == hold
    assert pointer(warehouse).hold is None
