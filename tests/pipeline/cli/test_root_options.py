"""What is asked before any verb: the version, no colours, completion for a shell."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from commonspace.pipeline.cli import tables
from tests.support.checkout import REPOSITORY
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse


def test_the_version(command: CommandLine) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    answer = command("--version")
    assert (answer.returncode, answer.stdout) == (0, f"commonspace {project['version']}\n")


def test_no_colors(
    command: CommandLine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.run_without_error([{"id": "a", "text": "a"}])
    monkeypatch.setattr(tables.console, "_force_terminal", True)  # as where a person looks
    monkeypatch.setattr(tables.console, "no_color", False)
    monkeypatch.setattr(tables.console, "_color_system", 1)
    assert "\x1b[1;33m" in command("show").stdout  # the encoder is untrained: yellow
    assert "\x1b[1;33m" not in command("--no-color", "show").stdout


def test_a_shell_completes_verbs() -> None:
    asked = {"_COMMONSPACE_COMPLETE": "complete_bash", "COMP_WORDS": "commonspace ret",
             "COMP_CWORD": "1"}  # fmt: skip
    answer = subprocess.run(
        [Path(sys.executable).with_name("commonspace")], env={**os.environ, **asked},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.split() == ["retain", "retire"]
