"""How far a stage is: a bar on a terminal, a sparse line elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts items of one stage. Use as a context manager; `total` may be unknown."""

    def __init__(self, label: str, total: int | None = None, *, quiet: bool = False) -> None:
        self.label, self.total, self.done = label, total, 0
        self._quiet = quiet
        self._began = self._spoke = time.monotonic()
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        self._began = self._spoke = time.monotonic()
        if not self._quiet and sys.stderr.isatty():
            self._bars = Bars(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bars.start()
            self._bars.add_task(self.label, total=self.total, rate="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars:
            self._bars.stop()
        elif not self._quiet and kind is None and self.done:
            self._say("done")

    def advance(self, count: int = 1) -> None:
        self.done += count
        if self._bars:
            self._bars.update(self._bars.task_ids[0], completed=self.done, rate=self._rate())
        elif not self._quiet and time.monotonic() - self._spoke > SECONDS_BETWEEN_LINES:
            self._say("so far")

    def _rate(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{self.done / seconds:,.0f}/s" if seconds > 0.5 else ""

    def _say(self, when: str) -> None:
        self._spoke = time.monotonic()
        of = f" of {self.total:,}" if self.total is not None else ""
        sys.stderr.write(f"commonspace | {self.label}: {self.done:,}{of} {when} {self._rate()}\n")
        sys.stderr.flush()
