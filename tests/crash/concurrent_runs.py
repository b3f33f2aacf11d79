"""Eight runs at once: four spaces, two partitions, a process for each pair."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import commonspace
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.workspace.work import Run
from tests.crash import subject
from tests.crash.forks import in_child, outcome, start

SPACES = ("a", "b", "c", "d")
PARTITIONS = ("one", "two")


def play(place: str, state: int) -> dict[str, Any]:
    """What the runs said, how often one planned again, and what is wrong in the end.

    state: 1 into an empty warehouse, 2 over a release.
    """
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        folder = Path(scratch)
        _write(folder, 1)
        if state == 2:
            for partition in PARTITIONS:
                for space in SPACES:
                    in_child(_run, folder, space, partition, 0.0)
            _write(folder, 2)
        begin = time.time() + 1.0
        children = [start(_run, folder, s, p, begin) for p in PARTITIONS for s in SPACES]
        ran = [outcome(*child) for child in children]
        checked = [in_child(_check, folder, space, state) for space in SPACES]
        return {
            "ran": ran,
            "again": sum("planning again" in line for one in ran for line in one["answer"]["log"]),
            "wrong": [answer for answer in checked if answer != {"answer": []}],
        }


def _write(folder: Path, state: int) -> None:
    spaces = [{**subject.SPACE_SECTION, "name": space} for space in SPACES]
    subject.write_source(folder, state, spaces)


def _run(folder: Path, space: str, partition: str, begin: float) -> dict[str, Any]:
    collection, reported = load_collection(folder / "things.toml"), list[str]()
    scope = Scope(partition=partition)
    this = Run(new_run_id(), collection, subject.store_of(folder), scope, quiet=True)
    time.sleep(max(begin - time.time(), 0.0))
    (report,) = run_collection(this, [collection.find_space(space)], log=reported.append)
    return {"report": report, "log": reported}


def _check(folder: Path, space: str, state: int) -> list[str]:
    """What the space lacks, holds in excess, or has under the wrong id or partition."""
    problems = list(verify_space(subject.store_of(folder), f"things/{space}").problems)
    opened = commonspace.open(f"things/{space}", warehouse=str(folder / "warehouse"))
    expected = subject.wanted(state)
    found = {
        row["id"]: (row["partition"], row["tag"], row["content_digest"])
        for row in opened.to_arrow().to_pylist()
    }
    if found != expected or len(opened) != len(expected):
        problems.append(f"{space}: {len(opened)} rows, {len(expected)} expected")
    return problems
