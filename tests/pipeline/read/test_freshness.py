"""Freshness: an unchanged source keeps a space fresh; a refusal, a hold or a few ids do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.publish.manual import roll_back
from commonspace.pipeline.read.catalog import confirmed_at
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.work import Run
from tests.support.warehouse import Warehouse

NAME = SpaceName("things", "text", 1)
LONG_AGO = "2001-09-09T01:46:40+00:00"


def rows(*words: str) -> list[dict[str, Any]]:
    return [{"id": f"i{n}", "text": f"text {word}"} for n, word in enumerate(words)]


def go(collection: Any, warehouse: Warehouse, scope: Scope | None = None) -> None:
    run = Run(new_run_id(), collection, warehouse.store, scope or Scope(), quiet=True)
    run_collection(run, list(collection.space), log=lambda _: None)


@pytest.fixture
def aged(warehouse: Warehouse, tmp_path: Path) -> LocalStore:
    """A space of two releases whose runs ended long ago."""
    assert confirmed_at(warehouse.store, NAME) is None
    go(warehouse.collection(rows("a", "b", "c")), warehouse)
    go(warehouse.collection(rows("a", "b", "d")), warehouse)
    for report in (tmp_path / "warehouse/.runs").rglob("report.json"):
        os.utime(report, (1e9, 1e9))
    assert confirmed_at(warehouse.store, NAME) == LONG_AGO
    return warehouse.store


def test_a_run_that_changes_nothing_confirms(warehouse: Warehouse, aged: LocalStore) -> None:
    go(warehouse.collection(rows("a", "b", "d")), aged)
    assert str(confirmed_at(aged, NAME)) > "2026"


def test_a_few_ids_confirm_nothing(warehouse: Warehouse, aged: LocalStore) -> None:
    go(warehouse.collection(rows("a", "b", "e")), aged, Scope(ids=frozenset({"i2"})))
    assert confirmed_at(aged, NAME) == LONG_AGO


def test_a_refused_run_confirms_nothing(warehouse: Warehouse, aged: LocalStore) -> None:
    go(warehouse.collection(rows("a"), gates={"max_deleted_share": 0.1}), aged)
    assert confirmed_at(aged, NAME) == LONG_AGO


def test_a_held_space_grows_old(warehouse: Warehouse, aged: LocalStore) -> None:
    roll_back(aged, NAME)
    go(warehouse.collection(rows("a", "b", "d")), aged)
    assert confirmed_at(aged, NAME) == LONG_AGO
