"""Runs that are killed at random moments, while a reader looks all the time."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from commonspace.pipeline.storage import lease
from commonspace.pipeline.storage import s3 as bucket_store
from tests.crash import subject
from tests.crash.forks import in_child, outcome, start

STATES = {1: "one", 2: "two", 3: "three"}
PAUSE = 0.1
"""Seconds between two looks of the reader."""


def play(place: str, count: int, seed: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """Kill `count` runs; how they ended, what the reader saw, what is wrong in the end.

    environment: what a run and the reader need for a warehouse elsewhere, COMMONSPACE_WAREHOUSE
    among it; empty for one in a folder.
    """
    os.environ.update(environment)
    try:
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            return _play(Path(scratch), Path(place), count, random.Random(seed))
    finally:
        for name in environment:
            del os.environ[name]


def _play(folder: Path, prepared: Path, count: int, chance: random.Random) -> dict[str, Any]:
    state, ended = 1, Counter[str]()
    subject.write_source(folder, state)
    began = time.monotonic()
    first = in_child(_run, folder)
    assert "answer" in first, first
    lasts = time.monotonic() - began
    stop, reach = folder / "stop", 1.0
    reader = start(_look, folder, prepared, stop)
    while ended["killed"] < count:
        state = state % 3 + 1
        subject.write_source(folder, state)
        while ended["killed"] < count:
            child, answer = start(_run, folder)
            time.sleep(chance.uniform(0, reach) * lasts)
            os.kill(child, signal.SIGKILL)
            how = outcome(child, answer)
            ended["killed" if "killed" in how else "done" if "answer" in how else str(how)] += 1
            reach *= 0.9 if "answer" in how else 1.03  # so that some runs end, and most do not
            if "answer" in how:
                break
    last = in_child(_run, folder)
    stop.touch()
    saw = outcome(*reader)
    problems = in_child(subject.verify, folder)
    served = in_child(_seen, folder, prepared)
    shutil.rmtree(folder / "warehouse", ignore_errors=True)
    wrong = [] if "answer" in last else [f"the last run: {last}"]
    wrong += [] if problems == {"answer": []} else [f"verify: {problems}"]
    wrong += [] if served == {"answer": STATES[state]} else [f"served: {served}, not {state}"]
    return {"ended": dict(ended), "saw": saw.get("answer", saw), "wrong": wrong}


def _run(folder: Path) -> None:
    bucket_store.lease = partial(lease.lease, seconds=1.0)  # the dead keep others waiting so long
    report = subject.run(folder)
    assert "error" not in report, report


def _look(folder: Path, prepared: Path, stop: Path) -> dict[str, int]:
    """How often each state was seen. Raises AssertionError for anything else."""
    signal.alarm(0)  # it looks as long as it takes
    saw = Counter[str]()
    while not stop.exists():
        saw[_seen(folder, prepared)] += 1
        time.sleep(PAUSE)
    return dict(saw)


def _seen(folder: Path, prepared: Path) -> str:
    return subject.seen(folder, {path.stem: path for path in prepared.glob("*.arrow")})
