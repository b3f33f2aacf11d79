from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse

# Our fixtures are folders and functions that every example may share; machines are shared too.
settings.register_profile(
    "commonspace",
    deadline=None,
    # How fast examples are drawn says something about the machine, not about our code.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# A mutant needs to fail, not to fail in the simplest way.
settings.register_profile(
    "mutation",
    settings.get_profile("commonspace"),
    max_examples=40,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commonspace"))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """An empty warehouse in the test's folder."""
    return Warehouse.within(tmp_path)


@pytest.fixture
def command(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """Runs the command's entry point in the test's folder and on its warehouse."""
    return CommandLine(warehouse, monkeypatch, capsys)


@pytest.fixture(scope="session")
def naughty_strings(shared: Path) -> list[str]:
    """The 515 strings of the Big List of Naughty Strings."""
    path = shared / "data" / "hostile" / "strings" / "blns.json"
    return list(json.loads(path.read_text(encoding="utf-8")))
