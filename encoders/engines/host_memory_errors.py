"""RuntimeErrors by which libraries report that the machine's memory is full, as MemoryError."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = re.compile(r"DefaultCPUAllocator: .*allocate memory|Failed to allocate \d+ bytes|bad_alloc")
"""PyTorch's words, OpenVINO's, and those of C++ in both."""


@contextmanager
def translated_memory_errors() -> Iterator[None]:
    """Raise MemoryError in place of such a RuntimeError of the block."""
    try:
        yield
    except RuntimeError as error:
        match = _FULL.search(str(error))
        if match is None:
            raise
        raise MemoryError(match[0]) from None
