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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.shards import traces_folder
from pipeline.workspace import Work


class Traces:
    """How many processes have died while they encoded the rows of a key."""

    def __init__(self, work: Work) -> None:
        self._store, self._run = work.run.store, work.run
        self._folder = traces_folder(work.name, work.spec.fingerprint)
        self._deaths = {
            path.rpartition("/")[2]: deaths
            for path in self._store.list(self._folder)
            if (deaths := self._read(path))
        }

    def deaths(self, key: str) -> int:
        """Processes that died of it, so far as they have left traces."""
        return self._deaths.get(key, 0)

    @property
    def any_fatal(self) -> bool:
        """Whether `is_fatal` is true of any key."""
        return any(map(self.is_fatal, self._deaths))

    def is_fatal(self, key: str) -> bool:
        """Whether more than one process has died of it."""
        return self.deaths(key) > 1

    @contextmanager
    def left_by_a_death(self, key: str) -> Iterator[None]:
        """A trace while the block runs, that stays if the process dies or lacks memory."""
        trace = {"deaths": self.deaths(key), "run": self._run.id, "process": _process(os.getpid())}
        self._store.replace(self._path(key), json.dumps(trace).encode())
        try:
            yield
        except MemoryError:  # the next process does less, as if this one had been killed
            raise
        except BaseException:
            self.forget(key)
            raise
        self.forget(key)

    def forget(self, key: str) -> None:
        """The rows of the key are through."""
        self._deaths.pop(key, None)
        self._store.delete(self._path(key))

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}"

    def _read(self, path: str) -> int:
        """The deaths that a trace tells of. Whoever asks for rejects again starts from none."""
        data = self._store.read(path)
        if data is None:
            return 0
        trace = json.loads(data.to_pybytes())
        if self._run.retry_rejects and trace["run"] != self._run.id:
            return 0
        return int(trace["deaths"]) + (not _is_alive(trace["process"]))


def _process(number: int) -> dict[str, Any]:
    """What no other process has: machine, number and moment of birth (proc(5), field 22).

    Where there is no /proc, the moment is None.
    """
    try:
        state, *fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        born = None if state in "ZX" else fields[18]
    except OSError:
        born = None
    return {"machine": platform.node(), "number": number, "born": born}


def _is_alive(process: Mapping[str, Any]) -> bool:
    """Whether it runs on this machine; of another machine nobody can tell, so it does not."""
    return process["born"] is not None and process == _process(process["number"])
