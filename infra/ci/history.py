"""The commits that a commit has, and the change that a submission is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

WINDOW = timedelta(hours=24)
"""With a submission a day, no commit falls between two windows; seen twice, it costs minutes."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit, when it was committed (UTC), and the paths that it touched."""

    sha: str
    time: datetime
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.time:%Y-%m-%d} ({self.sha[:7]})"


def read_commits(folder: Path) -> list[Commit]:
    """HEAD of the repository at a folder and all its ancestors, HEAD first."""
    log = _git(folder, "log", "--no-renames", "-z", "--name-only", "--format=%x01%H %ct%x01")
    fields = log.split("\x01")[1:]
    commits = []
    for heading, names in zip(fields[::2], fields[1::2], strict=True):
        sha, seconds = heading.split()
        paths = (name.strip("\n") for name in names.split("\0"))
        time = datetime.fromtimestamp(int(seconds), UTC)
        commits.append(Commit(sha=sha, time=time, paths=tuple(path for path in paths if path)))
    return commits


def commits_since(folder: Path, base: str) -> set[str]:
    """The commits that HEAD has and the base has not.

    Raises:
        LookupError: The base is no commit of this clone.
    """
    try:
        return set(_git(folder, "rev-list", f"{base}..HEAD").split())
    except subprocess.CalledProcessError as error:
        raise LookupError(base) from error


def paths_in_window(commits: Iterable[Commit], head: Commit) -> list[str]:
    """What the commits of the window that ends with this one touched."""
    since = head.time - WINDOW
    return sorted({path for c in commits if since < c.time <= head.time for path in c.paths})


def last_of_each_day(commits: Sequence[Commit]) -> list[Commit]:
    """The last commit of each day, the oldest first."""
    last = {commit.time.date(): commit for commit in sorted(commits, key=lambda c: c.time)}
    return [last[day] for day in sorted(last)]


def since_first_touch(commits: Sequence[Commit], path: str) -> list[Commit]:
    """The commits that are no older than the first one that touched the path."""
    first = min((commit.time for commit in commits if path in commit.paths), default=None)
    return [commit for commit in commits if first is not None and commit.time >= first]


def _git(folder: Path, *arguments: str) -> str:
    # CI's clone may belong to another user than the one who runs this.
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
