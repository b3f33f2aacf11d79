"""What CI reads from a repository's history."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.ci.history import (
    Commit,
    commits_since,
    last_of_each_day,
    paths_in_window,
    read_commits,
    since_first_touch,
)

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def git(folder: Path, *arguments: str, time: datetime = NOON) -> None:
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "A"), ("EMAIL", "a@b.c"), ("DATE", time.isoformat()))
    }
    command = ["git", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", *arguments]
    subprocess.run(command, cwd=folder, env={**os.environ, **who}, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits, an hour apart: two files added, one renamed, a branch merged."""
    git(tmp_path, "init")
    (tmp_path / "a b.txt").write_text("one")
    (tmp_path / "ü.txt").write_text("two")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first", time=NOON)
    git(tmp_path, "mv", "a b.txt", "c.txt")
    git(tmp_path, "commit", "-m", "second", time=NOON + timedelta(hours=1))
    git(tmp_path, "checkout", "-b", "side", "HEAD~1")
    (tmp_path / "d.txt").write_text("three")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "side", time=NOON + timedelta(hours=2))
    git(tmp_path, "checkout", "main")
    git(tmp_path, "merge", "--no-ff", "side", time=NOON + timedelta(hours=3))
    return tmp_path


def test_every_commit_is_read_with_its_time_and_both_names_of_a_renamed_file(
    repository: Path,
) -> None:
    merge, side, second, first = read_commits(repository)
    assert first.time == NOON
    assert sorted(first.paths) == ["a b.txt", "ü.txt"]
    assert sorted(second.paths) == ["a b.txt", "c.txt"]
    assert side.paths == ("d.txt",)
    assert merge.paths == ()
    assert merge.time == NOON + timedelta(hours=3)


def test_the_commits_since_a_base_are_those_that_it_has_not(repository: Path) -> None:
    merge, side, second, _ = read_commits(repository)
    assert commits_since(repository, second.sha) == {merge.sha, side.sha}
    with pytest.raises(LookupError, match="elsewhere"):
        commits_since(repository, "elsewhere")


def commit(hours: int, *paths: str) -> Commit:
    return Commit(sha=f"{hours:040}", time=NOON + timedelta(hours=hours), paths=paths)


def test_the_change_is_what_a_day_before_the_commit_touched() -> None:
    commits = [commit(1, "later"), commit(0, "now"), commit(-23, "b", "a"), commit(-24, "before")]
    assert paths_in_window(commits, commits[1]) == ["a", "b", "now"]


def test_days_are_those_of_utc_and_end_with_their_last_commit() -> None:
    commits = [commit(13), commit(11), commit(-1), commit(-30)]
    assert last_of_each_day(commits) == [commit(-30), commit(11), commit(13)]


def test_nothing_before_the_first_touch_of_a_path_counts() -> None:
    commits = [commit(2), commit(1, "x"), commit(0, "x"), commit(-1)]
    assert since_first_touch(commits, "x") == commits[:3]
    assert since_first_touch(commits, "y") == []
