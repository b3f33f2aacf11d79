from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from tests.pipeline.source.source_records import rows_of
from tests.support.warehouse import Warehouse


@pytest.fixture
def scan(warehouse: Warehouse) -> Callable[..., list[Record | UnreadableRecord]]:
    """Scans one file of some bytes; what load gives for each good row is the same."""

    def run(kind: str, data: bytes, **source: Any) -> list[Record | UnreadableRecord]:
        opened = open_source(
            warehouse.collection(
                source={"kind": kind, "uri": f"raw.{kind}", **source}, files={f"raw.{kind}": data}
            )
        )
        rows = rows_of(opened.scan(EVERYTHING))
        loaded = opened.load([row.locator for row in rows if isinstance(row, Record)])
        assert list(loaded) == [row for row in rows if isinstance(row, Record)]
        return rows

    return run
