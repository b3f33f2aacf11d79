"""The machine's memory is full, as the libraries say it: not by `MemoryError`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = re.compile(r"DefaultCPUAllocator: .*allocate memory|Failed to allocate \d+ bytes|bad_alloc")
"""PyTorch's words, OpenVINO's, and those of C++ in both."""


@contextmanager
def translated_memory_errors() -> Iterator[None]:
    """A block whose RuntimeErrors of that kind become MemoryError."""
    try:
        yield
    except RuntimeError as error:
        said = _FULL.search(str(error))
        if said is None:
            raise
        raise MemoryError(said[0]) from None
