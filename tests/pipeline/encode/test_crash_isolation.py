"""A shard whose process is killed, really: the next does less, and the rest of it is encoded."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import commonspace
from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import Content, Encoded, Purpose
from commonspace.pipeline.contract.layout import crash_log_folder
from commonspace.pipeline.encode.crash_isolation import SMALL_SHARD_ROWS
from commonspace.pipeline.encode.crash_log import CrashLog
from commonspace.pipeline.encode.notes import EncodeNote
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.work import Work
from tests.support.crashing_encoder import MONSTER, SLEEPER, deadly, encoded
from tests.support.warehouse import Warehouse

ITEMS = 200
EXACT = {"gates": {"spot_rows": 0, "max_reject_share": 0.1}, "run": {"shard_rows": 2 * ITEMS}}
"""One shard, and no row encoded again for a check."""


def rows(*monsters: int) -> list[dict[str, str]]:
    return [
        {"id": f"i{n}", "text": f"item {n} {MONSTER if n in monsters else ''}"}
        for n in range(ITEMS)
    ]


RUN = [sys.executable, "-m", "commonspace", "run", "things", "--json"]


def start(folder: Path, environment: dict[str, str], *options: str) -> Any:
    command = [*RUN, *options]
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
    tmp_path: Path, warehouse: Warehouse
) -> None:
    warehouse.collection(rows(77), **EXACT)
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
    assert verify_space(LocalStore(tmp_path / "w"), "things/text").ok
    calls = encoded(tmp_path)
    killed = [call for call in calls if any(MONSTER in text for text in call)]
    assert [len(call) for call in killed] == [ITEMS, SMALL_SHARD_ROWS, 1, 1]
    times = Counter(text for call in calls if call not in killed for text in call)
    assert set(times.values()) == {1}, "what was encoded is not encoded again"
    assert len(times) == ITEMS - 1
    left = [p.name for p in (tmp_path / "w/.runs/things/shards").rglob("*") if p.is_file()]
    assert len(left) == 2, f"the item's trace and the canary: {left}"

    warehouse.collection([*rows(77), {"id": "new", "text": "item of tomorrow"}], **EXACT)
    deaths, report, said = until_it_ends(tmp_path, environment)
    assert deaths == 0, "an item that is known to kill stands alone"
    assert (report["ledger"]["encoded"], report["ledger"]["kept"]) == (1, ITEMS - 1)
    assert report["rejects_by_reason"] == {"killed_encoder": 1}
    assert encoded(tmp_path)[len(calls) :] == [["item of tomorrow"]]

    environment["PYTHONPATH"] = ""  # a machine on which it does not kill
    deaths, report, said = until_it_ends(tmp_path, environment, "--only-rejects")
    assert (deaths, report["ledger"]["encoded"], report["rows"]) == (0, 1, ITEMS + 1)


@pytest.mark.crash
def test_two_items_that_kill(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.collection(rows(3, 150), **EXACT)
    deaths, report, _ = until_it_ends(tmp_path, deadly(tmp_path))
    assert deaths == 4 + 3, "the shard only once"
    assert report["rejects_by_reason"] == {"killed_encoder": 2}
    assert report["ledger"]["encoded"] == ITEMS - 2


@pytest.mark.crash
def test_whoever_asks_for_rejects_tries_again(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.collection([{"id": "a", "text": "item a"}, {"id": "b", "text": f"item {MONSTER}"}],
                    gates={"spot_rows": 0, "max_reject_share": 0.5})  # fmt: skip
    environment = deadly(tmp_path)
    deaths, report, _ = until_it_ends(tmp_path, environment)
    assert (deaths, report["ledger"]["rejected"]) == (3, 1)
    assert start(tmp_path, environment, "--only-rejects").returncode == -signal.SIGKILL
    assert until_it_ends(tmp_path, environment)[0] == 1, "of which it dies once more"
    assert until_it_ends(tmp_path, environment)[0] == 0


@pytest.mark.crash
def test_a_forced_run_ends_beside_an_item_that_kills(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.collection(rows(), **EXACT)
    environment = deadly(tmp_path)
    assert until_it_ends(tmp_path, environment)[0] == 0
    warehouse.collection(rows(77), **EXACT)
    forced = ("--force", "--no-dry-run")
    deaths, report, _ = until_it_ends(tmp_path, environment, *forced)
    assert deaths == 4
    assert (report["ledger"]["encoded"], report["rows"]) == (ITEMS - 1, ITEMS), "the old row stays"
    assert report["rejects_by_reason"] == {"killed_encoder": 1}
    assert until_it_ends(tmp_path, environment, *forced)[0] == 0


@pytest.mark.crash
def test_an_item_that_kills_where_it_is_encoded_for_a_check(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    checked = {"gates": {"spot_rows": ITEMS}, "run": {"shard_rows": ITEMS}}
    items = rows(7)[:20]
    warehouse.collection(items, **checked)
    environment = deadly(tmp_path)
    elsewhere = {**environment, "PYTHONPATH": ""}
    assert until_it_ends(tmp_path, elsewhere)[0] == 0, "a machine on which it does not kill"
    warehouse.collection([*items, {"id": "new", "text": "item of tomorrow"}], **checked)
    deaths, report, said = until_it_ends(tmp_path, environment)
    assert deaths == 3, "the sample, the item, the item again"
    assert "'i7' is not compared: 2 processes have died" in said
    assert (report["ledger"]["kept"], report["ledger"]["encoded"]) == (20, 1)
    assert report["rejects_by_reason"] == {}
    gate = next(gate for gate in report["gates"] if gate["name"] == "spot_check")
    assert gate["message"].startswith("20 sampled rows were encoded again")
    assert gate["message"].endswith("; 1 crash the process that encodes them")


@pytest.mark.crash
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_asked_to_end_has_not_died(
    tmp_path: Path, warehouse: Warehouse, asked: signal.Signals
) -> None:
    warehouse.collection([{"id": "a", "text": f"item {SLEEPER}"}])
    environment = deadly(tmp_path)
    environment["COMMONSPACE_COLLECTIONS"] = str(tmp_path)
    environment["COMMONSPACE_WAREHOUSE"] = str(tmp_path / "w")
    # Whoever starts the tests by nohup has it ignore SIGHUP, and so would this.
    run = ["env", f"--default-signal={asked.name}", *RUN]
    for _ in range(2):
        (tmp_path / "encoded").unlink(missing_ok=True)
        with subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL) as process:
            while not (tmp_path / "encoded").exists() or not encoded(tmp_path):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(asked)
            assert process.wait(20) == 128 + asked
    assert not list((tmp_path / "w").rglob("traces/*"))
    deaths, report, _ = until_it_ends(tmp_path, {**environment, "PYTHONPATH": ""})
    assert (deaths, report["ledger"]["encoded"], report["ledger"]["rejected"]) == (0, 1, 0)


@pytest.mark.crash
def test_nohup_is_heard(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.collection([{"id": "a", "text": f"item {SLEEPER}"}])
    environment = deadly(tmp_path)
    environment["COMMONSPACE_COLLECTIONS"] = str(tmp_path)
    environment["COMMONSPACE_WAREHOUSE"] = str(tmp_path / "w")
    with subprocess.Popen(["nohup", *RUN], env=environment, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "encoded").exists() or not encoded(tmp_path):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


@pytest.fixture
def work(warehouse: Warehouse) -> Work:
    return warehouse.work(warehouse.collection(rows()))


def test_a_twin_that_lives_is_no_death(work: Work) -> None:
    with CrashLog(work).record_attempt("key"):
        assert CrashLog(work).crashes("key") == 0
    assert CrashLog(work).crashes("key") == 0


def test_a_mistake_is_no_death_and_want_of_memory_is(work: Work) -> None:
    for error in (ValueError, KeyboardInterrupt, SystemExit, MemoryError):
        if not (child := os.fork()):
            try:
                with CrashLog(work).record_attempt("key"):
                    raise error
            except BaseException:
                os._exit(0)
        os.waitpid(child, 0)
        assert CrashLog(work).crashes("key") == (error is MemoryError)


def killed(work: Work, *, elsewhere: bool = False) -> None:
    """Leaves the trace of a process that was killed; `elsewhere`: in a container of this name."""
    if not (child := os.fork()):
        with CrashLog(work).record_attempt("key"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (path,) = work.run.store.list(crash_log_folder(work.name, work.spec.fingerprint))
    trace = json.loads(Path(work.run.store.url(path)).read_text())
    here = trace["process"]["machine"]
    if elsewhere:
        trace["process"]["machine"] = re.sub(r"pid:.[0-9]+", "pid:[1", here)
        assert trace["process"]["machine"] != here
        work.run.store.put(path, json.dumps(trace).encode())


def test_who_is_asked_to_end_leaves_what_was_known_before(work: Work) -> None:
    killed(work)
    for error in (SystemExit, ValueError):
        with pytest.raises(error), CrashLog(work).record_attempt("key"):
            raise error
        assert CrashLog(work).crashes("key") == 1
    killed(work)
    assert CrashLog(work).has_exceeded("key")
    with CrashLog(work).record_attempt("key"):
        pass
    assert CrashLog(work).crashes("key") == 0


class EndsInTheCheck(HashedEncoder):
    """Is interrupted where it encodes a single row, as a check of one does."""

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        if len(contents) == 1:
            raise KeyboardInterrupt
        return super().encode(contents, purpose=purpose)


def test_a_shard_that_was_not_compared_yet_is_compared_by_the_next_process(
    warehouse: Warehouse,
) -> None:
    collection = warehouse.collection(rows(), gates={"spot_rows": 1})
    work, (key,) = warehouse.planned(collection)
    with pytest.raises(KeyboardInterrupt):
        encode_stage(work, [key], EndsInTheCheck(64, "text"))
    assert work.finished_shard(key)
    assert not work.read_notes(EncodeNote)
    assert encode_stage(work, [key], HashedEncoder(64, "text")) == [key]
    (note,) = work.read_notes(EncodeNote)
    assert note.spots
    assert note.spots.checked == 1
    assert encode_stage(work, [key]) == []


@pytest.mark.parametrize(
    ("elsewhere", "exceeded"),
    [
        ([False], False),
        ([False, False], True),
        ([False, True], False),  # which may be alive
        ([True, True], False),
        ([True, True, True], True),  # two of them died, if one is a twin that lives
        ([True, False], False),
        ([True, False, False], True),
        ([False, True, False], True),
    ],
)
def test_who_may_be_alive_elsewhere_condemns_no_item(
    work: Work, elsewhere: list[bool], exceeded: bool
) -> None:
    for one in elsewhere:
        killed(work, elsewhere=one)
    assert CrashLog(work).crashes("key") == len(elsewhere), "all of them make it do less"
    assert CrashLog(work).has_exceeded("key") == exceeded


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"all": 1}', b'{"all": "x"}'])
def test_a_damaged_trace_is_one_death(work: Work, data: bytes) -> None:
    work.run.store.put(crash_log_folder(work.name, work.spec.fingerprint) + "/key", data)
    assert CrashLog(work).crashes("key") == 1
    assert not CrashLog(work).has_exceeded("key")
