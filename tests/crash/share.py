"""How many of the many cases are played: all, or every n-th, a share of its own each time."""

from __future__ import annotations

import os
import random

EVERY = int(os.environ.get("COMMONSPACE_CRASH_EVERY", "1"))


def first() -> int:
    """The number, from 1 on, of the first case to be played; any, unless it is named."""
    return int(os.environ.get("COMMONSPACE_CRASH_FIRST", "0")) or random.randint(1, EVERY)


def share(count: int) -> int:
    """How many of so many are left; never none."""
    return max(count // EVERY, 1)
