"""A part of the stack: a process in a session of its own, with a log and a check of its health.

A part may start processes that outlive its first one (a Celery worker's tasks do). They stay in its
session, and are ended with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

Check = Callable[[float], bool]
"""Whether a part is healthy; takes the time, in seconds since 1970, at which it was started."""


@dataclass
class Part:
    """What is started, and how to tell that it is healthy."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    is_healthy: Check
    address: str = ""
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started: float = 0.0
    created: float = 0.0
    restarts: int = 0

    def start(self) -> None:
        """Start the process; what it prints goes to the end of its log."""
        with self.log.open("ab") as log:
            self.started = time.time()
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, cwd=self.log.parent,
                user=self.user, extra_groups=[] if self.user else None,
            )  # fmt: skip
        # Read at once: the system forgets a process that has ended.
        self.created = psutil.Process(self.process.pid).create_time()

    @property
    def pid(self) -> int:
        """The id of the process, and of its session."""
        assert self.process is not None, "not started"  # noqa: S101
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Ask the first process of the part to stop."""
        if self.running:
            os.kill(self.pid, self.stop_signal)

    def wait(self, deadline: float) -> None:
        """Wait until it has ended, or until the deadline on the monotonic clock."""
        while self.running and time.monotonic() < deadline:
            time.sleep(0.1)

    def end(self) -> None:
        """Kill all processes of the part that are left."""
        if self.process is not None:
            end_session(self.pid)
            self.process.wait()


def members(session: int) -> list[psutil.Process]:
    """The processes of a session."""
    return [process for process in psutil.process_iter() if _is_member(process, session)]


def end_session(session: int) -> None:
    """Kill every process of a session, until none is left."""
    while left := members(session):
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)


def _is_member(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
