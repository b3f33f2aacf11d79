"""A stack that runs for the tests: started as a person would, ended whatever happens."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.stack.part import end_session
from tests.stack.client import Stack, until

REPOSITORY = Path(__file__).parents[2]
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "OMP_NUM_THREADS": "1",
}
"""What Airflow would wait minutes for."""


def _ends_with_us() -> None:
    """The stack gets a SIGINT when the tests are killed (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


@contextmanager
def running(folder: Path, collections: Path, *options: str, **environment: str) -> Iterator[Stack]:
    """A stack that is ready; ended as by Ctrl-C."""
    log = folder.parent / "stack.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "infra.stack", "--folder", str(folder), *options]
    command += ["--collections", str(collections)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    with log.open("a") as out:
        process = subprocess.Popen(
            command, env={**clean, **IMPATIENT, **environment}, cwd=REPOSITORY, stdout=out,
            stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=_ends_with_us,
        )  # fmt: skip
    try:
        until(
            lambda: "ready at" in log.read_text() or process.poll() is not None,
            600,
            "the stack is ready",
        )
        assert process.poll() is None, log.read_text()
        yield Stack(folder, process)
    finally:
        _end(folder, process)


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
