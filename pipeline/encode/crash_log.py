"""The crash log: what tells a process that earlier ones crashed while they encoded something.

An attempt is recorded before some rows are encoded, and cleared after them. A record of a
process that is gone is a crash. Records lie beside the finished shards and are named as they
are, so every run of the same space finds them, and they expire as shards do.
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


@dataclass(frozen=True, kw_only=True)
class CrashCount:
    """Processes that crashed while they encoded some rows, as far as attempts were recorded.

    certain: Those of `all` that are known to be gone. The others ran on another machine, where
        nobody can tell from here.
    """

    all: int = 0
    certain: int = 0

    @property
    def exceeded(self) -> bool:
        """Whether more than one crashed, even if one of the uncertain is a twin that lives."""
        return self.certain > 1 or self.all > 2


class CrashLog:
    """How many processes crashed while they encoded a shard, by the shard's name."""

    def __init__(self, work: Work) -> None:
        self._store, self._run = work.run.store, work.run
        self._folder = crash_log_folder(work.name, work.spec.fingerprint)
        self._counts = {
            key.rpartition("/")[2]: count
            for key in self._store.list(self._folder)
            if (count := self._read(key)).all
        }

    def crashes(self, shard: str) -> int:
        """Processes that crashed on it, or may have."""
        return self._count(shard).all

    @property
    def any_exceeded(self) -> bool:
        """Whether `has_exceeded` is true of any shard."""
        return any(map(self.has_exceeded, self._counts))

    def has_exceeded(self, shard: str) -> bool:
        """Whether more than one process crashed on it."""
        return self._count(shard).exceeded

    @contextmanager
    def record_attempt(self, shard: str) -> Iterator[None]:
        """A record while the block runs, that stays if the process crashes or lacks memory."""
        before = self._count(shard)
        self._write(shard, before, _process(os.getpid()))
        try:
            yield
        except MemoryError:  # the next process does less, as if this one had been killed
            raise
        except BaseException:  # it did not crash: only the earlier crashes count
            with suppress(StoreFailed):  # the first error is reported; this counts as a crash then
                self._restore(shard, before)
            raise
        self.clear(shard)

    def clear(self, shard: str) -> None:
        """Forget the crashes: its rows are encoded."""
        self._counts.pop(shard, None)
        self._store.delete(self._key(shard))

    def _restore(self, shard: str, count: CrashCount) -> None:
        if count.all:
            self._write(shard, count, None)
        else:
            self.clear(shard)

    def _write(self, shard: str, count: CrashCount, process: Mapping[str, Any] | None) -> None:
        """`process`: of the attempt that begins, if one does."""
        record = {"all": count.all, "known": count.certain, "run": self._run.id, "process": process}
        self._store.put(self._key(shard), json.dumps(record).encode())

    def _count(self, shard: str) -> CrashCount:
        return self._counts.get(shard, CrashCount())

    def _key(self, shard: str) -> str:
        return f"{self._folder}/{shard}"

    def _read(self, key: str) -> CrashCount:
        """The crashes that a record tells of; none where another run is to retry rejects."""
        data = self._store.read(key)
        if data is None:
            return CrashCount()
        try:
            record = json.loads(data.to_pybytes())
            before = CrashCount(all=int(record["all"]), certain=int(record["known"]))
            process = record["process"]
            if self._run.retry_rejects and record["run"] != self._run.id:
                return CrashCount()
            if process is None or _is_alive(process):
                return before
            is_certain = _is_from_here(process)
            return CrashCount(all=before.all + 1, certain=before.certain + is_certain)
        except (
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
        ):  # damaged: only that some attempt began is known
            return CrashCount(all=1)


def _process(number: int) -> dict[str, Any]:
    """What no other process has: machine, number and start time (proc_pid_stat(5), field 22).

    Where there is no /proc, the time is None.
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
    """Whether it runs here; of one elsewhere nobody can tell, so it counts as gone."""
    return _is_from_here(process) and process == _process(process["number"])


def _is_from_here(process: Mapping[str, Any]) -> bool:
    """Whether its machine is this one, so that its end is certain."""
    return process["born"] is not None and process["machine"] == _machine()
