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
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.storage.local import LocalStore
from tests.crash.share import share
from tests.support.collection_file import write_collection

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1200)]

ITEMS, SHARD_ROWS, KILLS = 3000, 100, share(20)


def write_items(folder: Path) -> None:
    write_collection(
        folder,
        source={"metadata": ["tag"]},
        run={"shard_rows": SHARD_ROWS},
        gates={"max_deleted_share": 1.0, "max_reject_share": 0.1},
    )
    with (folder / "things.jsonl").open("w") as file:
        for n in range(ITEMS):
            row = {"id": f"i{n}", "text": " " if n % 500 == 7 else f"item {n} says less"}
            file.write(json.dumps({**row, "tag": str(n % 70)}) + "\n")


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "COMMONSPACE_COLLECTIONS": str(folder),
        "COMMONSPACE_WAREHOUSE": str(folder / "warehouse"),
    }


def run(folder: Path) -> None:
    command = [sys.executable, "-m", "commonspace", "run", "things"]
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
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What an uninterrupted run publishes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    write_items(folder)
    run(folder)
    return rows_of(folder)


def check(folder: Path, expected: list[dict[str, Any]]) -> None:
    assert verify_space(LocalStore(folder / "warehouse"), "things/text").ok
    assert rows_of(folder) == expected


def test_killed_at_random_moments(tmp_path: Path, expected: list[dict[str, Any]]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    moments = random.Random(seed)
    write_items(tmp_path)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "commonspace", "plan", "things"],
                   env=environment(tmp_path), check=True, capture_output=True)  # fmt: skip
    starting = time.monotonic() - began
    seen: set[tuple[str, str]] = set()
    killed = 0
    command = [sys.executable, "-m", "commonspace", "run", "things"]
    while killed < KILLS:
        child = subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.5, 1.6) * starting)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        seen |= notes(tmp_path)
        if child.returncode == 0:  # it was done before the shot: start the next from nothing
            check(tmp_path, expected)
            seen = set()
            subprocess.run(["rm", "-rf", str(tmp_path / "warehouse")], check=True)
    run(tmp_path)
    seen |= notes(tmp_path)
    check(tmp_path, expected)
    twice = [key for key, count in Counter(shard for _, shard in seen).items() if count > 1]
    assert not twice, f"finished shards were encoded twice: {twice}"
