"""Which slow suites a submission plays: pure functions of its day, its change and the past.

In this order:

1. A suite plays on its weekdays, whatever else happens: with a submission a day, nothing starves.
   One that is declared `at_once` plays whenever the change touches its folders, too.
2. A suite plays where the change touches its folders, as far as the budget goes; the one that was
   due longest ago comes first.
3. A suite whose last weekday passed without a submission catches up, as far as the budget goes.

The past is the same rule, applied to the last commit of each earlier day. That a suite was due
says neither that CI ran nor that the suite passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from infra.ci.history import Commit, last_of_each_day, paths_in_window
from infra.ci.suites import WEEKDAYS, Rules, Suite


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether a suite runs now, why, and whether the change touches it."""

    suite: Suite
    runs: bool
    reason: str
    touched: bool


def choose(
    rules: Rules, day: date, changed: Sequence[str], last_due: Mapping[str, date]
) -> list[Choice]:
    """Decide about every suite.

    Args:
        rules: The suites and the budget.
        day: The day of the submission.
        changed: The paths that it touches.
        last_due: For a suite's name, the last day before this one when it was due, if any.

    Returns:
        A choice for each suite, in the order of the rules.
    """
    touched = {suite.name: suite.touched_folder(changed) for suite in rules.suites}
    reserved = {
        suite.name
        for suite in rules.suites
        if suite.has_turn(day) or (suite.at_once and touched[suite.name] is not None)
    }
    left = rules.budget - sum(suite.minutes for suite in rules.suites if suite.name in reserved)
    waiting = sorted(
        rules.suites,
        key=lambda suite: (touched[suite.name] is None, last_due.get(suite.name, date.min)),
    )
    choices = {}
    for suite in waiting:
        folder = touched[suite.name]
        room = suite.minutes if suite.name in reserved else left
        runs, reason = _decide(suite, day, folder, last_due.get(suite.name), room)
        if runs and suite.name not in reserved:
            left -= suite.minutes
        choices[suite.name] = Choice(
            suite=suite, runs=runs, reason=reason, touched=folder is not None
        )
    return [choices[suite.name] for suite in rules.suites]


def last_due(rules: Rules, commits: Sequence[Commit], day: date) -> dict[str, Commit]:
    """For each suite the last commit before the day for which the rule chose it."""
    due: dict[str, Commit] = {}
    for commit in last_of_each_day(commits):
        if commit.time.date() < day:
            changed = paths_in_window(commits, commit)
            for choice in choose(rules, commit.time.date(), changed, days(due)):
                if choice.runs:
                    due[choice.suite.name] = commit
    return due


def days(due: Mapping[str, Commit]) -> dict[str, date]:
    """The days of commits."""
    return {name: commit.time.date() for name, commit in due.items()}


def lanes(suites: Iterable[Suite], count: int = 2) -> list[list[str]]:
    """Spread suites over lanes, the longest first, each to the lane that has least to do."""
    filled: list[list[Suite]] = [[] for _ in range(count)]
    for suite in sorted(suites, key=lambda suite: -suite.minutes):
        min(filled, key=lambda lane: sum(s.minutes for s in lane)).append(suite)
    return [[suite.name for suite in lane] for lane in filled]


def describe(
    rules: Rules, choices: Sequence[Choice], due: Mapping[str, Commit], day: date
) -> list[str]:
    """What the log says: a line for every suite, and loudly what the budget left out."""
    lines = [f"{name}: runs now: always" for name in rules.always]
    for choice in sorted(choices, key=lambda choice: not choice.runs):
        suite, before, turn = choice.suite, due.get(choice.suite.name), choice.suite.next_turn(day)
        lines.append(
            f"{suite.name}: {'runs now' if choice.runs else 'DOES NOT RUN'}: {choice.reason} "
            f"[{suite.minutes} min; {f'last due {before}' if before else 'never due before'}; "
            f"next turn {WEEKDAYS[turn.weekday()]} {turn}]"
        )
    spent = sum(choice.suite.minutes for choice in choices if choice.runs)
    lines.append(
        f"slow suites: {spent} of {rules.budget} minutes of a core. That a suite was due says that "
        "it was to run, not that it ran or passed"
    )
    left_out = [choice.suite.name for choice in choices if choice.touched and not choice.runs]
    if left_out:
        lines.append(
            f"THIS CHANGE TOUCHES WHAT THESE SUITES COVER, AND THEY DO NOT RUN: "
            f"{', '.join(left_out)}. Their turn comes as said above; `make ci-all` plays everything"
        )
    return lines


def _decide(
    suite: Suite, day: date, folder: str | None, last: date | None, left: int
) -> tuple[bool, str]:
    """Whether the suite runs, and why; `left` is what the budget holds for it."""
    if suite.has_turn(day):
        return True, f"its turn ({' and '.join(suite.weekdays)})"
    missed = suite.missed_turn(day, last)
    if folder is not None:
        reason = f"{folder} changed"
    elif missed is not None:
        reason = f"its turn on {WEEKDAYS[missed.weekday()]} {missed} was missed"
    else:
        return False, "not its turn, and nothing that it covers changed"
    if suite.minutes > left:
        return False, f"{reason}, but only {left} minutes of the budget are left"
    return True, reason
