"""Old versions of a table go, but for those that readers may still be at."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commonspace.pipeline.index import compaction
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.maintenance.retain import retain
from commonspace.pipeline.release.pointer import Current, ServedRelease, load_current
from tests.support.warehouse import NAME, Warehouse, numbered_items


def test_the_tables_old_versions_go_too(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "STALL", timedelta(seconds=2))
    warehouse.publish_releases(3)
    time.sleep(2.2)
    warehouse.run(numbered_items(6))
    reader = warehouse.open()
    warehouse.run(numbered_items(7))
    retain(warehouse.store, NAME, 2)
    left = [v["version"] for v in connect(warehouse.address).open_table(NAME.table).list_versions()]
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert pointer.table_version in left
    assert min(left) > 1
    assert reader.get(["i0005"])["found"].to_pylist() == [True]  # release 4 is kept
    assert len(warehouse.open().search("text", k=50)) == 7


def test_what_was_served_lately_stays_in_the_table(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that was made long ago may have been served until just now."""
    monkeypatch.setattr(compaction, "READER_GRACE", timedelta(seconds=1))
    monkeypatch.setattr(compaction, "STALL", timedelta(seconds=1.5))
    monkeypatch.setattr(compaction, "VERSIONS_BETWEEN_COMPACTIONS", 1)
    warehouse.publish_releases(1)
    reader = warehouse.open()
    time.sleep(2.2)
    warehouse.run(numbered_items(2))
    assert reader.get(["i0000"])["found"].to_pylist() == [True]
    first = connect(warehouse.address).open_table(NAME.table).list_versions()[0]["version"]
    time.sleep(2.2)
    warehouse.run(numbered_items(3))
    left = [v["version"] for v in connect(warehouse.address).open_table(NAME.table).list_versions()]
    assert min(left) > first
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert {pointer.table_version, pointer.served[-1].table_version} <= set(left)


def test_what_was_served_at_a_moment() -> None:
    def at(day: int) -> str:
        return datetime(2026, 1, day, tzinfo=UTC).isoformat(timespec="seconds")

    pointer = Current(
        3, "t", 30, at(20), "run", (ServedRelease(1, 10, at(1)), ServedRelease(2, 20, at(10)))
    )
    for day, lately in ((25, [30]), (15, [20, 30]), (10, [20, 30]), (9, [10, 20, 30])):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        assert compaction.versions_served_since(pointer, moment) == lately
    assert compaction.versions_served_since(pointer, datetime(2025, 12, 31, tzinfo=UTC)) == []


def test_the_end_of_summer_time_makes_nothing_younger(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    made = (now - timedelta(days=5)).timestamp()

    class Table:
        def list_versions(self) -> list[dict[str, Any]]:  # as LanceDB: naive and local
            return [{"version": 1, "timestamp": datetime.fromtimestamp(made)}]

    def yearday(days: int) -> int:
        return min((now - timedelta(days=days)).timetuple().tm_yday, 365)

    with monkeypatch.context() as patched:
        patched.setenv("TZ", f"WINTER0SUMMER-1,J{yearday(90)},J{yearday(3)}")
        time.tzset()
        age = compaction.age_of_oldest(Table(), {1})
    time.tzset()
    assert timedelta(days=5) <= age - compaction.STALL < timedelta(days=5, minutes=5)
