"""Starts the parts, starts again those that end, and stops all of them."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import psutil

from infra.stack.part import Part, end_session
from infra.stack.settings import StackFailed

START_SECONDS = 600.0
"""By then all parts must be healthy; a busy machine takes minutes."""

STOP_SECONDS = 20.0
"""For parts to stop by themselves; tasks that still run then are killed, and tried again."""

LONGEST_PAUSE = 30.0
"""Between two starts of a part that keeps ending, at most."""


@contextmanager
def only_stack_of(folder: Path) -> Iterator[None]:
    """Allows one stack in a folder at a time.

    Raises:
        StackFailed: another one is running there.
    """
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackFailed(f"another stack is running in {folder}") from None
        yield


class Supervisor:
    """The parts that have been started, and a file that lists their processes."""

    def __init__(self, folder: Path) -> None:
        self.parts: list[Part] = []
        self.stopping = Event()
        self._file = folder / "parts.json"

    def stop_leftovers(self) -> None:
        """End the processes of an earlier stack in this folder that was killed."""
        listed = json.loads(self._file.read_text()) if self._file.exists() else []
        for part in listed:
            try:
                is_same = abs(psutil.Process(part["pid"]).create_time() - part["created"]) < 1
            except psutil.NoSuchProcess:
                is_same = True  # its id is not given to a new process while its session has members
            if is_same:
                end_session(part["pid"])

    def start(self, parts: Sequence[Part]) -> None:
        """Start parts together, and wait until all are healthy.

        Raises:
            StackFailed: one ended, or is not healthy in time.
        """
        for part in parts:
            part.start()
            self.parts.append(part)
            self._write_list()
        deadline, waiting = time.monotonic() + START_SECONDS, list(parts)
        while waiting:
            part = waiting[0]
            if self.stopping.is_set():
                return
            if not part.running or time.monotonic() > deadline:
                end = "".join(f"\n    {line}" for line in _last_lines(part.log))
                raise StackFailed(f"{part.name} did not start; {part.log} ends with:{end}")
            if part.is_healthy(part.started):
                waiting.pop(0)
            else:
                self.stopping.wait(0.5)

    def watch(self) -> None:
        """Start each part again that ends, until it is time to stop."""
        due: dict[str, float] = {}
        while not self.stopping.wait(0.5):
            for part in self.parts:
                if part.running:
                    continue
                part.end()  # its other processes, whose results nobody would receive
                now = time.monotonic()
                if now >= due.setdefault(part.name, now + self._pause(part)):
                    del due[part.name]
                    part.restarts += 1
                    part.start()
                    self._write_list()

    def stop(self) -> None:
        """Stop every part, the servers last."""
        servers = [part for part in self.parts if part.name in ("postgres", "redis", "s3")]
        for group in ([part for part in self.parts if part not in servers], servers):
            for part in group:
                part.ask_to_stop()
            deadline = time.monotonic() + STOP_SECONDS
            for part in group:
                part.wait(deadline)
            for part in group:
                part.end()
        self._file.unlink(missing_ok=True)

    @staticmethod
    def _pause(part: Part) -> float:
        lasted = time.time() - part.started
        return (
            1.0 if lasted > 2 * LONGEST_PAUSE else min(LONGEST_PAUSE, 2.0 ** min(part.restarts, 5))
        )

    def _write_list(self) -> None:
        listed = [
            {
                "name": part.name, "pid": part.pid, "restarts": part.restarts,
                "created": part.created, "log": str(part.log),
            }
            for part in self.parts
        ]  # fmt: skip
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps(listed, indent=1) + "\n")
        unfinished.replace(self._file)


def run_once(command: list[str], environment: dict[str, str], log: Path) -> None:
    """Execute a command that ends, such as a migration.

    Raises:
        StackFailed: its exit code is not 0.
    """
    with log.open("ab") as file:
        process = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, check=False, cwd=log.parent, start_new_session=True,
        )  # fmt: skip
    if process.returncode:
        end = "".join(f"\n    {line}" for line in _last_lines(log))
        raise StackFailed(f"`{' '.join(command[1:])}` failed; {log} ends with:{end}")


def _last_lines(log: Path, count: int = 15) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-count:]
