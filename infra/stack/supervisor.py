"""Starts the parts, starts again what has ended, and ends all of it."""

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
"""All parts must be well by then; a busy machine takes minutes."""
STOP_SECONDS = 20.0
"""To end by itself what is asked to stop; tasks that still run then are killed, and tried again."""
LAST_PAUSE = 30.0
"""Between two starts of a part that ends again and again, at most."""


@contextmanager
def only_stack_of(folder: Path) -> Iterator[None]:
    """One stack a folder at a time. Raises StackFailed where another one runs."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackFailed(f"another stack runs in {folder}") from None
        yield


class Supervisor:
    """The parts that have been started, and a file that says which they are."""

    def __init__(self, folder: Path) -> None:
        self.parts: list[Part] = []
        self.stopping = Event()
        self._file = folder / "parts.json"

    def end_leftovers(self) -> None:
        """End what an earlier stack in this folder left, when it was killed itself."""
        told = json.loads(self._file.read_text()) if self._file.exists() else []
        for part in told:
            try:
                same = abs(psutil.Process(part["pid"]).create_time() - part["created"]) < 1
            except psutil.NoSuchProcess:
                same = True  # no session is named by a new process while the old one has members
            if same:
                end_session(part["pid"])

    def start(self, parts: Sequence[Part]) -> None:
        """Start parts together, and wait until all are well. Raises StackFailed."""
        for part in parts:
            part.start()
            self.parts.append(part)
            self._note()
        deadline, waiting = time.monotonic() + START_SECONDS, list(parts)
        while waiting:
            part = waiting[0]
            if self.stopping.is_set():
                return
            if not part.running or time.monotonic() > deadline:
                told = "".join(f"\n    {line}" for line in _last_lines(part.log))
                raise StackFailed(f"{part.name} did not start; {part.log} ends with:{told}")
            if part.well(part.started):
                waiting.pop(0)
            else:
                self.stopping.wait(0.5)

    def watch(self) -> None:
        """Start again whatever ends, until it is time to stop."""
        due: dict[str, float] = {}
        while not self.stopping.wait(0.5):
            for part in self.parts:
                if part.running:
                    continue
                part.end()  # its other processes: nobody would hear of their results
                now = time.monotonic()
                if now >= due.setdefault(part.name, now + self._pause(part)):
                    del due[part.name]
                    part.restarts += 1
                    part.start()
                    self._note()

    def stop(self) -> None:
        """End every part: those started last first, the servers when nobody needs them."""
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
        return 1.0 if lasted > 2 * LAST_PAUSE else min(LAST_PAUSE, 2.0 ** min(part.restarts, 5))

    def _note(self) -> None:
        told = [
            {
                "name": part.name, "pid": part.pid, "restarts": part.restarts,
                "created": part.created, "log": str(part.log),
            }
            for part in self.parts
        ]  # fmt: skip
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(told, indent=1) + "\n")
        new.replace(self._file)


def run_once(command: list[str], environment: dict[str, str], log: Path) -> None:
    """Execute a command that ends, such as a migration. Raises StackFailed."""
    with log.open("ab") as file:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, check=False, cwd=log.parent, start_new_session=True,
        )  # fmt: skip
    if done.returncode:
        told = "".join(f"\n    {line}" for line in _last_lines(log))
        raise StackFailed(f"`{' '.join(command[1:])}` failed; {log} ends with:{told}")


def _last_lines(log: Path, count: int = 15) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-count:]
