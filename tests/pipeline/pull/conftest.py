from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.support.documents import NO_LIMITS, SPACE
from tests.support.warehouse import Warehouse


@pytest.fixture
def publish(warehouse: Warehouse) -> Any:
    """Runs a collection of these records; the space's report."""

    def run(data: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, Any]:
        return warehouse.run_without_error(data, **{"spaces": [SPACE], **NO_LIMITS, **options})

    return run
