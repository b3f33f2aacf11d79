"""`.ci/run` itself, where a stand-in for make only says what it was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.ci.suites import load_rules
from tests.ci.test_history import NOON, git
from tests.support.checkout import REPOSITORY

MAKE = """#!/usr/bin/env bash
echo "plays $1 with ${COMMONSPACE_CRASH_EVERY-all} ${COMMONSPACE_CRASH_FIRST-} ${COMMONSPACE_DEMO-}"
echo "$1" >> played
[[ " $FAILING " != *" $1 "* ]]
"""
RULES = load_rules(REPOSITORY / ".ci/suites.toml")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository of a single commit, of a Monday, that has only what CI needs to begin."""
    folder = tmp_path / "clone"
    shutil.copytree(REPOSITORY / ".ci", folder / ".ci")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "infra/ci", folder / "infra/ci", ignore=ignore)
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "all")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"make": MAKE, "chromium": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return folder


def run(clone: Path, *arguments: str, failing: str = "") -> subprocess.CompletedProcess[str]:
    path = f"{clone.parent / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "FAILING": failing}
    environment.pop("COMMONSPACE_CI_BASE", None)
    return subprocess.run(
        [clone / ".ci/run", *arguments], env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def played(clone: Path) -> list[str]:
    return (clone / "played").read_text().split()


def test_a_submission_plays_what_is_always_played_and_what_is_due(clone: Path) -> None:
    done = run(clone)
    assert done.returncode == 0, done.stderr
    assert played(clone)[:4] == ["setup", "demo", "test", "check"]
    slow = played(clone)[4:]
    quarter = 2 * (int(NOON.timestamp()) // 86400) // 7 % 4 + 1
    assert {"test-quality-encoders", "test-quality-pipeline", "test-demo"} <= set(slow)
    assert len(slow) == len(set(slow)) < len(RULES.suites)
    for suite in slow:
        assert f"{suite}: plays {suite} with 4 {quarter} demo" in done.stdout
        assert f"{suite}: 0 s, of a core " in done.stdout
        assert f"ci: {suite}: runs now" in done.stderr
    for suite in {each.name for each in RULES.suites} - set(slow):
        assert f"ci: {suite}: DOES NOT RUN" in done.stderr


def test_all_plays_everything_and_every_crash_case(clone: Path) -> None:
    done = run(clone, "--all")
    assert done.returncode == 0, done.stderr
    assert sorted(played(clone)[4:]) == sorted(each.name for each in RULES.suites)
    assert "crash: plays crash with all  demo" in done.stdout


@pytest.mark.parametrize("failing", ["demo", "check", "test-quality-encoders", "test-demo"])
def test_what_fails_fails_the_run_and_keeps_nothing_else_from_running(
    clone: Path, failing: str
) -> None:
    assert run(clone).returncode == 0
    everything = sorted(played(clone))
    (clone / "played").unlink()
    assert run(clone, failing=failing).returncode == 1
    assert sorted(played(clone)) == everything


def test_without_an_environment_nothing_is_played(clone: Path) -> None:
    assert run(clone, failing="setup").returncode != 0
    assert played(clone) == ["setup"]
