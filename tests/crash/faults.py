"""Which call of a process fails, and how: `kill:37`, `enospc:37`, `eio-lasting:37`, `none`."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

COUNT, KILL, ERROR = range(3)
KINDS = {
    "none": (COUNT, 0, False),
    "kill": (KILL, 0, False),
    "enospc": (ERROR, errno.ENOSPC, False),
    "enospc-lasting": (ERROR, errno.ENOSPC, True),
    "eio": (ERROR, errno.EIO, False),
    "eio-lasting": (ERROR, errno.EIO, True),
}


@dataclass(frozen=True)
class Fault:
    """`kind` of KINDS at the `point`-th call that changes a file, from 1."""

    kind: str
    point: int = 0

    @classmethod
    def parse(cls, text: str) -> Fault:
        kind, _, point = text.partition(":")
        return cls(kind, int(point or 0))

    def __str__(self) -> str:
        return f"{self.kind}:{self.point}"


def build(folder: Path) -> Path:
    """The library, compiled. Raises CalledProcessError or FileNotFoundError."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True,
    )
    return library


def arm(fault: Fault, folder: Path, log: Path) -> None:
    """From now on, in this process; calls are noted in `log`, one line each."""
    kind, error, lasting = KINDS[fault.kind]
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    refused = _library().faults_arm(
        os.fsencode(folder), kind, error, lasting, ctypes.c_long(fault.point), handle
    )
    assert not refused, "the kernel refused to hand calls to the fault library"


def disarm() -> None:
    _library().faults_disarm()


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(os.environ["LD_PRELOAD"])
