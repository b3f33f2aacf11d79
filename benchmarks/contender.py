"""One row of the benchmark's table: a function in a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PATIENCE = 1800
"""Seconds a contender may load, or take for a round; then it is killed."""


class Stopped(Exception):
    """A contender's process ended before it had answered."""


@dataclass
class Contender:
    """`function(*arguments)` loads and returns contents -> vectors; both are pickled.

    every: it encodes each `every`-th item only. python: the interpreter it runs on.
    optional: left out of the table, aloud, if it does not start.
    """

    name: str
    function: Any
    arguments: tuple[Any, ...] = ()
    every: int = 1
    python: str = sys.executable
    optional: bool = False
    rounds: list[dict[str, Any]] = field(default_factory=list)
    process: Any = None
    log: Path | None = None

    def start(self, contents: Sequence[Any], folder: Path) -> None:
        """Load in a process of its own, and wait until it is warm. Raises Stopped."""
        task = folder / f"{abs(hash(self.name))}.pickle"
        task.write_bytes(pickle.dumps((self.function, self.arguments, list(contents))))
        self.log = task.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [self.python, str(HERE / "worker.py"), str(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}", "HF_HUB_OFFLINE": "1"},
            )
        self._answer()

    def run(self, count: int, save: Path | None) -> None:
        """One round over the first `count` items. Raises Stopped."""
        command = {"items": [0, count, self.every], "save": str(save) if save else None}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self.rounds.append(self._answer())

    def _answer(self) -> dict[str, Any]:
        impatience = threading.Timer(PATIENCE, self.process.kill)
        impatience.start()
        line = self.process.stdout.readline()
        impatience.cancel()
        if not line:
            code = self.process.wait()
            raise Stopped(f"{self.name} stopped with exit code {code}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n") if self.log else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")

    def rates(self) -> list[float]:
        """Items a second of each round."""
        return [done["items"] / done["seconds"] for done in self.rounds]
