"""A shard whose process is killed, really: the next does less, and the rest of it is encoded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import commonspace
from pipeline.local_store import LocalStore
from pipeline.pieces import PIECE_ROWS
from pipeline.traces import Traces
from pipeline.verify import verify_space
from pipeline.workspace import Run, Work
from tests.killer import MONSTER, deadly, encoded
from tests.pipeline.conftest import MakeCollection

ITEMS = 200
EXACT = {"gates": {"spot_rows": 0, "max_reject_share": 0.1}, "run": {"shard_rows": 2 * ITEMS}}
"""One shard, and no row encoded again for a check."""


def rows(*monsters: int) -> list[dict[str, str]]:
    return [
        {"id": f"i{n}", "text": f"item {n} {MONSTER if n in monsters else ''}"}
        for n in range(ITEMS)
    ]


def start(folder: Path, environment: dict[str, str], *options: str) -> Any:
    command = [sys.executable, "-m", "pipeline", "run", "things", *options, "--json"]
    environment["COMMONSPACE_COLLECTIONS"] = str(folder)
    environment["COMMONSPACE_WAREHOUSE"] = str(folder / "w")
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def until_it_ends(folder: Path, environment: dict[str, str], *options: str) -> tuple[int, Any, str]:
    """How many runs were killed, the report of the one that was not, and what it said."""
    for deaths in range(20):
        done = start(folder, environment, *options)
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stderr
            return deaths, json.loads(done.stdout)[0], done.stderr
    raise AssertionError("it is killed for ever")


@pytest.mark.crash
def test_one_item_that_kills_costs_four_runs_and_then_none(
    tmp_path: Path, make_collection: MakeCollection
) -> None:
    make_collection(rows(77), **EXACT)
    environment = deadly(tmp_path)
    deaths, report, said = until_it_ends(tmp_path, environment)
    assert deaths == 4, "the shard, 64 of its rows, the item, the item again"
    assert "'i77' is rejected: 2 processes have died while they encoded it alone" in said
    assert report["ledger"]["encoded"] == ITEMS - 1
    assert (report["ledger"]["rejected"], report["ledger"]["offered"]) == (1, ITEMS)
    assert report["rejects_by_reason"] == {"killed_encoder": 1}
    space = commonspace.open("things/text", warehouse=str(tmp_path / "w"))
    assert len(space) == ITEMS - 1
    assert space.rejects.select(["id", "retryable"]).to_pylist() == [
        {"id": "i77", "retryable": True}
    ]
    assert verify_space(LocalStore(tmp_path / "w"), "things/text")["ok"]
    calls = encoded(tmp_path)
    killed = [call for call in calls if any(MONSTER in text for text in call)]
    assert [len(call) for call in killed] == [ITEMS, PIECE_ROWS, 1, 1]
    times = Counter(text for call in calls if call not in killed for text in call)
    assert set(times.values()) == {1}, "what was encoded is not encoded again"
    assert len(times) == ITEMS - 1
    left = [p.name for p in (tmp_path / "w/.runs/things/shards").rglob("*") if p.is_file()]
    assert len(left) == 2, f"the item's trace and the canary: {left}"

    make_collection([*rows(77), {"id": "new", "text": "item of tomorrow"}], **EXACT)
    deaths, report, said = until_it_ends(tmp_path, environment)
    assert deaths == 0, "an item that is known to kill stands alone"
    assert (report["ledger"]["encoded"], report["ledger"]["kept"]) == (1, ITEMS - 1)
    assert report["rejects_by_reason"] == {"killed_encoder": 1}
    assert encoded(tmp_path)[len(calls) :] == [["item of tomorrow"]]

    environment["PYTHONPATH"] = ""  # a machine on which it does not kill
    deaths, report, said = until_it_ends(tmp_path, environment, "--only-rejects")
    assert (deaths, report["ledger"]["encoded"], report["rows"]) == (0, 1, ITEMS + 1)


@pytest.mark.crash
def test_two_items_that_kill(tmp_path: Path, make_collection: MakeCollection) -> None:
    make_collection(rows(3, 150), **EXACT)
    deaths, report, _ = until_it_ends(tmp_path, deadly(tmp_path))
    assert deaths == 4 + 3, "the shard only once"
    assert report["rejects_by_reason"] == {"killed_encoder": 2}
    assert report["ledger"]["encoded"] == ITEMS - 2


@pytest.mark.crash
def test_whoever_asks_for_rejects_tries_again(
    tmp_path: Path, make_collection: MakeCollection
) -> None:
    make_collection([{"id": "a", "text": "item a"}, {"id": "b", "text": f"item {MONSTER}"}],
                    gates={"spot_rows": 0, "max_reject_share": 0.5})  # fmt: skip
    environment = deadly(tmp_path)
    deaths, report, _ = until_it_ends(tmp_path, environment)
    assert (deaths, report["ledger"]["rejected"]) == (3, 1)
    assert start(tmp_path, environment, "--only-rejects").returncode == -signal.SIGKILL
    assert until_it_ends(tmp_path, environment)[0] == 1, "of which it dies once more"
    assert until_it_ends(tmp_path, environment)[0] == 0


@pytest.fixture
def work(make_collection: MakeCollection, tmp_path: Path) -> Work:
    collection = make_collection(rows())
    run = Run("r", collection, LocalStore(tmp_path / "w"), quiet=True)
    return Work(run, collection.space[0])


def test_a_twin_that_lives_is_no_death(work: Work) -> None:
    with Traces(work).left_by_a_death("key"):
        assert Traces(work).deaths("key") == 0
    assert Traces(work).deaths("key") == 0


def test_a_mistake_is_no_death_and_want_of_memory_is(work: Work) -> None:
    for error in (ValueError, KeyboardInterrupt, MemoryError):
        if not (child := os.fork()):
            try:
                with Traces(work).left_by_a_death("key"):
                    raise error
            except BaseException:
                os._exit(0)
        os.waitpid(child, 0)
        assert Traces(work).deaths("key") == (error is MemoryError)
