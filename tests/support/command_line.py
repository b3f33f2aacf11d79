"""The command's entry point, run in the process of the tests."""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple

import pytest

from commonspace.pipeline.cli.app import main
from tests.support.warehouse import Warehouse


class Answer(NamedTuple):
    """The exit code, the output and the messages of a command."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class CommandLine:
    """Runs `commonspace` with these arguments, in a folder of collections and on its warehouse."""

    def __init__(
        self,
        warehouse: Warehouse,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        self.use(warehouse)

    def use(self, warehouse: Warehouse) -> None:
        """Make this warehouse that of the commands that follow."""
        warehouse.folder.mkdir(parents=True, exist_ok=True)
        self.monkeypatch.chdir(warehouse.folder)
        self.monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(warehouse.folder))
        self.monkeypatch.setenv("COMMONSPACE_WAREHOUSE", warehouse.address)

    def __call__(self, *arguments: str) -> Answer:
        self.monkeypatch.setattr(sys, "argv", ["commonspace", *arguments])
        self.capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *self.capsys.readouterr())
