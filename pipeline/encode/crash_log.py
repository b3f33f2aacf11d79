"""Traces: what tells the next process that the last one died while it encoded something.

A trace is written before some rows are encoded and taken away after them. One that still lies
there, of a process that is no more, is a death. It lies beside the finished shards, named as
they are, so every run of the same space finds it, and goes as they do when nobody touches it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from commonspace.pipeline.contract.layout import crash_log_folder
from commonspace.pipeline.errors import StoreFailed
from commonspace.pipeline.workspace.work import Work


@dataclass(frozen=True)
class CrashCount:
    """Processes that have died of some rows, so far as they have left traces."""

    all: int = 0
    known: int = 0
    """Those of them that are certain; the others ran where nobody can tell from here."""

    @property
    def exceeded(self) -> bool:
        """Whether more than one has died, even if one of the uncertain is a twin that lives."""
        return self.known > 1 or self.all > 2


class CrashLog:
    """How many processes have died while they encoded the rows of a key."""

    def __init__(self, work: Work) -> None:
        self._store, self._run = work.run.store, work.run
        self._folder = crash_log_folder(work.name, work.spec.fingerprint)
        self._deaths = {
            path.rpartition("/")[2]: deaths
            for path in self._store.list(self._folder)
            if (deaths := self._read(path)).all
        }

    def deaths(self, key: str) -> int:
        """Processes that died of it, or may have."""
        return self._of(key).all

    @property
    def any_exceeded(self) -> bool:
        """Whether `has_exceeded` is true of any key."""
        return any(map(self.has_exceeded, self._deaths))

    def has_exceeded(self, key: str) -> bool:
        """Whether more than one process has died of it."""
        return self._of(key).exceeded

    @contextmanager
    def record_attempt(self, key: str) -> Iterator[None]:
        """A trace while the block runs, that stays if the process dies or lacks memory."""
        deaths, process = self._of(key), _process(os.getpid())
        trace = {"all": deaths.all, "known": deaths.known, "run": self._run.id, "process": process}
        self._store.put(self._path(key), json.dumps(trace).encode())
        try:
            yield
        except MemoryError:  # the next process does less, as if this one had been killed
            raise
        except BaseException:  # it did not die: what was known before is known still
            with suppress(StoreFailed):  # then this counts as a death, and the cause is told
                self._restore(key, deaths)
            raise
        self.clear(key)

    def clear(self, key: str) -> None:
        """The rows of the key are through."""
        self._deaths.pop(key, None)
        self._store.delete(self._path(key))

    def _restore(self, key: str, deaths: CrashCount) -> None:
        if not deaths.all:
            self.clear(key)
            return
        trace = {"all": deaths.all, "known": deaths.known, "run": self._run.id, "process": None}
        self._store.put(self._path(key), json.dumps(trace).encode())

    def _of(self, key: str) -> CrashCount:
        return self._deaths.get(key, CrashCount())

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}"

    def _read(self, path: str) -> CrashCount:
        """The deaths that a trace tells of. Whoever asks for rejects again starts from none."""
        data = self._store.read(path)
        if data is None:
            return CrashCount()
        try:
            trace = json.loads(data.to_pybytes())
            before, process = CrashCount(int(trace["all"]), int(trace["known"])), trace["process"]
            if self._run.retry_rejects and trace["run"] != self._run.id:
                return CrashCount()
            if process is None or _is_alive(process):
                return before
            return CrashCount(before.all + 1, before.known + _is_from_here(process))
        except (ValueError, KeyError, TypeError):  # damaged: that some process began, it tells
            return CrashCount(1)


def _process(number: int) -> dict[str, Any]:
    """What no other process has: machine, number and moment of birth (proc_pid_stat(5), field 22).

    Where there is no /proc, the moment is None.
    """
    try:
        state, *fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        born = None if state in "ZX" else fields[18]
    except OSError:
        born = None
    return {"machine": _machine(), "number": number, "born": born}


@cache
def _machine() -> str:
    """Where the numbers of processes are this one's: its name, its boot, its PID namespace.

    Containers often share the first two. Where there is no /proc, it is the name alone.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _is_alive(process: Mapping[str, Any]) -> bool:
    """Whether it runs here; of one that ran elsewhere nobody can tell, so it does not."""
    return _is_from_here(process) and process == _process(process["number"])


def _is_from_here(process: Mapping[str, Any]) -> bool:
    """Whether its machine is this one, so that its end is certain."""
    return process["born"] is not None and process["machine"] == _machine()
