"""The memory of this process: its peak, its allocator, and returning what was freed."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Parameters of mallopt(3), from glibc's malloc.h."""


def use_one_allocator() -> None:
    """Make Arrow allocate with malloc; for a process that runs commonspace alone.

    Arrow's own allocator keeps freed memory in addition to what malloc keeps: 40 to 56 MB more in
    an encode process (measured over 50,000 texts). malloc is tuned, too: a buffer of 256 kB gets
    pages of its own, which return to the system when it is freed (13 to 15 MB less, no slower).
    Where ARROW_DEFAULT_MEMORY_POOL or glibc's MALLOC_… variables are set, they are respected.
    """
    # For Arrow's import, which need not happen here: `--help` does without.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if not any(name.startswith("MALLOC_") for name in os.environ):
        with suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, 2**18)
            mallopt(_M_ARENA_MAX, 2)


def release_free_memory() -> None:
    """Return freed memory to the operating system (Arrow calls glibc's `malloc_trim`)."""
    import pyarrow as pa  # a quarter of the time that `--help` took

    pa.default_memory_pool().release_unused()


def peak_rss() -> int:
    """The peak resident set size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` would begin with what the parent had when it forked
        lines = status.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
