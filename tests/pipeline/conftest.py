from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.warehouse import Warehouse

# Our fixtures are folders and functions that every example may share; machines are shared too.
settings.register_profile(
    "commonspace",
    deadline=None,
    # How fast examples are drawn says something about the machine, not about our code.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("commonspace")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """An empty warehouse in the test's folder."""
    return Warehouse.within(tmp_path)


MakeCollection = Any


@pytest.fixture
def make_collection(warehouse: Warehouse) -> Any:
    return warehouse.collection


@pytest.fixture(scope="session")
def naughty_strings(shared: Path) -> list[str]:
    """The 515 strings of the Big List of Naughty Strings."""
    path = shared / "data" / "hostile" / "strings" / "blns.json"
    return list(json.loads(path.read_text(encoding="utf-8")))
