"""The slow suites of CI as `.ci/suites.toml` declares them: cost, weekdays, folders."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A slow suite: a target of make, minutes of one core, and what it covers."""

    name: str
    minutes: int
    weekdays: tuple[str, ...]
    folders: tuple[str, ...]
    at_once: bool = False
    """Whether it plays whenever its folders change, as the quick tests do."""

    def has_turn(self, day: date) -> bool:
        """Whether the day is one of the suite's weekdays."""
        return WEEKDAYS[day.weekday()] in self.weekdays

    def next_turn(self, day: date) -> date:
        """The first of the suite's days after this one."""
        return next(later for later in _week(day, +1) if self.has_turn(later))

    def missed_turn(self, day: date, last_due: date | None) -> date | None:
        """The last of the suite's days before this one, unless it was due then or later."""
        turn = next(earlier for earlier in _week(day, -1) if self.has_turn(earlier))
        return turn if last_due is None or last_due < turn else None

    def touched_folder(self, paths: Iterable[str]) -> str | None:
        """The first of the suite's folders that holds one of the paths."""
        changed = tuple(paths)
        return next((f for f in self.folders if any(path.startswith(f) for path in changed)), None)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the file says: minutes for slow suites, the suites that always play, the slow ones."""

    budget: int
    always: tuple[str, ...]
    suites: tuple[Suite, ...]


def load_rules(path: Path) -> Rules:
    """Read the file; what it lists under `everywhere` belongs to the folders of every suite."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    suites = tuple(
        Suite(
            name=name,
            minutes=suite["minutes"],
            weekdays=tuple(suite["weekdays"]),
            folders=(*suite["folders"], *document["everywhere"]),
            at_once=suite.get("at_once", False),
        )
        for name, suite in document["suites"].items()
    )
    return Rules(budget=document["budget"], always=tuple(document["always"]), suites=suites)


def _week(day: date, step: int) -> list[date]:
    """The seven days after (+1) or before (-1) a day, the nearest first."""
    return [day + timedelta(days=step * number) for number in range(1, len(WEEKDAYS) + 1)]
