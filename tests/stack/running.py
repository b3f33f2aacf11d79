"""A stack that runs for the tests: started as a person would, ended whatever happens."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.stack.part import end_session
from tests.stack.client import Stack, until
from tests.stack.tails import tails
from tests.support.checkout import REPOSITORY

IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "15",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "OMP_NUM_THREADS": "1",
}
"""What Airflow would wait minutes for. The files of the DAGs do not change: it parses them once."""
OURS = ("AIRFLOW", "AWS_", "COMMONSPACE_")


def environment_without_ours() -> dict[str, str]:
    """The caller's, without what would steer the stack elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def with_the_tests(end: signal.Signals) -> Callable[[], None]:
    """To be called in a new process, which then gets the signal when the tests die (Linux)."""

    def tell() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, end)

    return tell


@contextmanager
def running(folder: Path, collections: Path, *options: str, **environment: str) -> Iterator[Stack]:
    """A stack that is ready; ended as by Ctrl-C."""
    log = folder.parent / "stack.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "infra.stack", "--folder", str(folder), *options]
    command += ["--collections", str(collections)]
    around = environment_without_ours()
    with log.open("a") as out:
        process = subprocess.Popen(
            command, env={**around, **IMPATIENT, **environment}, cwd=REPOSITORY, stdout=out,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
            preexec_fn=with_the_tests(signal.SIGINT),
        )  # fmt: skip
    try:
        _wait_until_ready(process, log)
        yield Stack(folder, process, around)
    finally:
        _end(folder, process)


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> None:
    def ready() -> bool:
        return "ready at" in log.read_text() or process.poll() is not None

    try:
        until(ready, 600, "the stack is ready")
        assert process.poll() is None, "the stack did not start"
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text()}\n{tails(log.parent / 'stack')}") from None


def _end(folder: Path, process: subprocess.Popen[str]) -> None:
    """Ctrl-C; and then, whatever came of it, nothing is left."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(120)
    finally:
        end_session(process.pid)
        parts = folder / "parts.json"  # gone, where all went well
        for part in json.loads(parts.read_text()) if parts.exists() else []:
            end_session(part["pid"])
