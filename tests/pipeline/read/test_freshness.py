"""Freshness: an unchanged source keeps a space fresh; a refusal, a hold or a few ids do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.publish.manual import roll_back
from commonspace.pipeline.read.catalog import confirmed_at
from commonspace.pipeline.source.records import Scope
from tests.support.warehouse import NAME, Warehouse

LONG_AGO = "2001-09-09T01:46:40+00:00"


def rows(*words: str) -> list[dict[str, Any]]:
    return [{"id": f"i{n}", "text": f"text {word}"} for n, word in enumerate(words)]


@pytest.fixture
def aged(warehouse: Warehouse, tmp_path: Path) -> Warehouse:
    """A space of two releases whose runs ended long ago."""
    assert confirmed_at(warehouse.store, NAME) is None
    warehouse.run(rows("a", "b", "c"))
    warehouse.run(rows("a", "b", "d"))
    for report in (tmp_path / "warehouse/.runs").rglob("report.json"):
        os.utime(report, (1e9, 1e9))
    assert confirmed_at(warehouse.store, NAME) == LONG_AGO
    return warehouse


def test_a_run_that_changes_nothing_confirms(aged: Warehouse) -> None:
    aged.run(rows("a", "b", "d"))
    assert str(confirmed_at(aged.store, NAME)) > "2026"


def test_a_few_ids_confirm_nothing(aged: Warehouse) -> None:
    aged.run(rows("a", "b", "e"), scope=Scope(ids=frozenset({"i2"})))
    assert confirmed_at(aged.store, NAME) == LONG_AGO


def test_a_refused_run_confirms_nothing(aged: Warehouse) -> None:
    aged.run(rows("a"), gates={"max_deleted_share": 0.1})
    assert confirmed_at(aged.store, NAME) == LONG_AGO


def test_a_held_space_grows_old(aged: Warehouse) -> None:
    roll_back(aged.store, NAME)
    aged.run(rows("a", "b", "d"))
    assert confirmed_at(aged.store, NAME) == LONG_AGO
