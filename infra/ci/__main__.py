"""`python -m infra.ci` says what CI plays for HEAD; the standard library is enough.

The lanes of slow suites go to standard output, a line each, and the reasons to standard error.
The day is that of HEAD's commit in UTC. The change is what the commits since
`COMMONSPACE_CI_BASE` touched or, where that is not set, those of the window before HEAD's commit.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.ci.history import (
    WINDOW,
    Commit,
    commits_since,
    paths_in_window,
    read_commits,
    since_first_touch,
)
from infra.ci.plan import choose, days, describe, lanes, last_due
from infra.ci.suites import WEEKDAYS, Rules, Suite, load_rules

REPOSITORY = Path(__file__).parents[2]
SUITES = ".ci/suites.toml"


def main() -> None:
    """Print the lanes and the reasons."""
    parser = argparse.ArgumentParser(prog="python -m infra.ci", description="What CI plays.")
    parser.add_argument("--all", action="store_true", help="every suite, whatever the budget")
    everything = parser.parse_args().all
    rules = load_rules(REPOSITORY / SUITES)
    if everything:
        log("every suite runs: all of them were asked for")
    for lane in lanes(rules.suites if everything else suites_of_head(rules)):
        sys.stdout.write(" ".join(lane) + "\n")


def suites_of_head(rules: Rules) -> list[Suite]:
    """The slow suites that run for HEAD; the log says why, and why the others do not."""
    commits = read_commits(REPOSITORY)
    head = commits[0]
    day = head.time.date()
    changed = change_of_head(commits)
    # Before there was a rule nothing was due by it.
    due = last_due(rules, since_first_touch(commits, SUITES), day)
    choices = choose(rules, day, changed, days(due))
    log(f"{WEEKDAYS[day.weekday()]}, commit of {head}")
    for line in describe(rules, choices, due, day):
        log(line)
    return [choice.suite for choice in choices if choice.runs]


def change_of_head(commits: Sequence[Commit]) -> list[str]:
    """The paths that the submission of HEAD touches."""
    base = os.environ.get("COMMONSPACE_CI_BASE")
    hours = f"{WINDOW.total_seconds() / 3600:.0f} hours before it"
    if base:
        try:
            newer = commits_since(REPOSITORY, base)
        except LookupError:
            log(f"COMMONSPACE_CI_BASE: this clone has no commit {base}; the {hours} count instead")
        else:
            paths = sorted({path for c in commits if c.sha in newer for path in c.paths})
            log(f"the change: {len(newer)} commits since {base}, {len(paths)} files")
            return paths
    paths = paths_in_window(commits, commits[0])
    log(f"the change: HEAD and the commits of the {hours}, {len(paths)} files")
    return paths


def log(line: str) -> None:
    """Write a line of CI's log."""
    sys.stderr.write(f"ci: {line}\n")


if __name__ == "__main__":
    main()
