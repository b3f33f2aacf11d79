"""Runs that start at the same moment: all their results are there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.forks import Servers

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.mark.parametrize("state", [1, 2])
def test_eight_runs_over_four_spaces(
    servers: Servers, prepared: Path, found: list[str], state: int
) -> None:
    reported = servers.ask("concurrent_runs:play", str(prepared), state)
    failed = [run for run in reported["ran"] if run["answer"]["report"].get("state") != "promoted"]
    found.append(f"concurrent runs over state {state}: 8 runs, {reported['again']} planned again")
    assert not failed, failed
    assert not reported["wrong"], reported["wrong"]
    assert reported["again"] >= 1, "no run met another one"
