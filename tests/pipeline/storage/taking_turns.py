"""Threads that must be inside one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager


def assert_threads_take_turns(enter: Callable[[], AbstractContextManager[object]]) -> None:
    """Four threads enter; none is inside while another is."""
    inside: list[int] = []

    def work(worker: int) -> None:
        with enter():
            inside.append(worker)
            time.sleep(0.02)
            assert inside == [worker]
            inside.clear()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
