"""SIGKILL during `commonspace run`, and running again: nothing lost, doubled or done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import commonspace
from pipeline.store import LocalStore
from pipeline.verify import verify_space

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1200)]

ITEMS, SHARD_ROWS, KILLS = 3000, 100, 20
COLLECTION = f"""
[collection]
name = "things"
owner = "me"
[source]
kind = "jsonl"
uri = "things.jsonl"
id = "id"
metadata = ["tag"]
[[space]]
name = "text"
encoder = "hashed/64"
fields = ["text"]
[run]
shard_rows = {SHARD_ROWS}
[gates]
max_deleted_share = 1.0
max_reject_share = 0.1
"""

# Counts what changes the disk and kills the process right before the n-th such call.
KILLER = """
import os, signal, sys
left = int(sys.argv.pop(1))
def hook(event, arguments):
    global left
    writes = event in {"os.link", "os.rename", "os.remove", "os.mkdir"} or (
        event == "open" and arguments[2] and arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if writes and "warehouse" in str(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from pipeline.__main__ import main
try:
    main()
finally:
    print(-left, file=sys.stderr)
"""


def write_items(folder: Path, version: int) -> None:
    """Version 2 changes, adds, removes and re-tags some of version 1."""
    (folder / "things.toml").write_text(COLLECTION)
    with (folder / "things.jsonl").open("w") as file:
        for n in range(0 if version == 1 else 40, ITEMS + version * 10):
            text = f"item {n} says {'more' if version == 2 and n % 50 == 0 else 'less'}"
            tag = "new" if version == 2 and n % 70 == 0 else "old"
            row = {"id": f"i{n}", "text": " " if n % 500 == 7 else text, "tag": tag}
            file.write(json.dumps(row) + "\n")


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "COMMONSPACE_COLLECTIONS": str(folder),
        "COMMONSPACE_WAREHOUSE": str(folder / "warehouse"),
    }


def run(folder: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "run", "things"]
    answer = subprocess.run(
        command, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Every row of the release, without when and in which run it was encoded."""
    space = commonspace.open("things/text", warehouse=str(folder / "warehouse"))
    table = space.to_arrow().drop(["encoded_at", "run"]).sort_by("id")
    rejects = space.rejects.drop(["run"]).sort_by("id").to_pylist()
    return [*table.to_pylist(), *rejects]


def notes(folder: Path) -> set[tuple[str, str]]:
    """(run, shard) for every shard that some run has encoded to its end."""
    found = (folder / "warehouse/.runs/things").glob("*/text-v1/encode-*.json")
    return {(path.parts[-3], path.name) for path in found}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """What uninterrupted runs publish, of both versions of the source."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    answers = {}
    for version in (1, 2):
        write_items(folder, version)
        run(folder)
        answers[version] = rows_of(folder)
    return answers


def check(folder: Path, expected: list[dict[str, Any]]) -> None:
    assert verify_space(LocalStore(folder / "warehouse"), "things/text")["ok"]
    assert rows_of(folder) == expected


def test_killed_at_random_moments(tmp_path: Path, expected: dict[int, Any]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    moments = random.Random(seed)
    write_items(tmp_path, 1)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "pipeline", "plan", "things"],
                   env=environment(tmp_path), check=True, capture_output=True)  # fmt: skip
    starting = time.monotonic() - began
    seen: set[tuple[str, str]] = set()
    killed = 0
    command = [sys.executable, "-m", "pipeline", "run", "things"]
    while killed < KILLS:
        child = subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.5, 1.6) * starting)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        seen |= notes(tmp_path)
        if child.returncode == 0:  # it was done before the shot: start the next from nothing
            check(tmp_path, expected[1])
            seen = set()
            subprocess.run(["rm", "-rf", str(tmp_path / "warehouse")], check=True)
    run(tmp_path)
    seen |= notes(tmp_path)
    check(tmp_path, expected[1])
    twice = [key for key, count in Counter(shard for _, shard in seen).items() if count > 1]
    assert not twice, f"finished shards were encoded twice: {twice}"


def test_killed_at_chosen_writes(tmp_path: Path, expected: dict[int, Any]) -> None:
    """A second version is published over a first; the kill comes at a write of the second."""
    base = tmp_path / "base"
    base.mkdir()
    write_items(base, 1)
    run(base)
    write_items(base, 2)
    writes = 0
    for number in range(KILLS + 1):
        folder = tmp_path / f"kill-{number}"
        subprocess.run(["cp", "-r", str(base), str(folder)], check=True)
        shot = 10**9 if number == 0 else 1 + (number - 1) * (writes - 1) // (KILLS - 1)
        answer = subprocess.run(
            [sys.executable, "-c", KILLER, str(shot), "run", "things"],
            env=environment(folder), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if number == 0:
            writes = 10**9 + int(answer.stderr.split()[-1])
            assert writes > KILLS
        else:
            assert answer.returncode == -signal.SIGKILL, (shot, writes, answer.stderr[-500:])
            served = rows_of(folder)
            assert served in (expected[1], expected[2]), "a reader saw something in between"
            run(folder)
        check(folder, expected[2])
        subprocess.run(["rm", "-rf", str(folder)], check=True)
