"""How far a stage is, on standard error: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts items of one stage. Use as a context manager; `total` may be unknown."""

    def __init__(self, label: str, total: int | None = None, *, quiet: bool = False) -> None:
        self.label, self.total, self.done = label, total, 0
        self._quiet = quiet
        self._began = self._printed = time.monotonic()
        self._bar: RichProgress | None = None

    def __enter__(self) -> Self:
        self._began = self._printed = time.monotonic()
        if not self._quiet and sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._bar.add_task(self.label, total=self.total, rate="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif not self._quiet and kind is None and self.done:
            self._print("done")

    def advance(self, count: int = 1) -> None:
        """Count items that are done."""
        self.done += count
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self.done, rate=self._rate())
        elif not self._quiet and time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._print("so far")

    def _rate(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{self.done / seconds:,.0f}/s" if seconds > 0.5 else ""

    def _print(self, state: str) -> None:
        self._printed = time.monotonic()
        total = f" of {self.total:,}" if self.total is not None else ""
        sys.stderr.write(
            f"commonspace | {self.label}: {self.done:,}{total} {state} {self._rate()}\n"
        )
        sys.stderr.flush()
