"""Threads that decode images, and give up on one that takes too long.

Python cannot end a thread: one that is given up goes on until its decoder returns, or until the
process ends, and another thread takes its place. Its image has a failure at once, whatever its
decoder does: the clock is read from outside.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

WAITING_FACTOR = 10
"""A call that computes little, as it waits for other threads, may take so much longer."""
_CHECKS = 10
"""How often the clocks are read while a call uses up its time."""


class TimeLimitedExecutor(Executor):
    """Runs calls in threads; one that takes too long has another result.

    Time is that of the call's own thread on a CPU, where the system tells (Linux), so that it does
    not depend on what else runs; and `WAITING_FACTOR` times as much by the clock.
    """

    def __init__(self, threads: int, seconds: float, late: Callable[[], Any]) -> None:
        """Start the threads.

        Args:
            threads: how many calls run at once.
            seconds: how long a call may take.
            late: makes the result of one that takes longer.
        """
        self._seconds, self._late = seconds, late
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._running: dict[_Call, _Clock] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._threads: dict[int, threading.Thread] = {}
        for _ in range(threads):
            self._start_worker()
        self._watch = threading.Thread(target=self._give_up_late_ones, name="decode-watch")
        self._watch.daemon = True
        self._watch.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `Executor.submit`."""
        call = _Call(lambda: fn(*args, **kwargs))
        self._calls.put(call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads; those that were given up are not waited for."""
        del cancel_futures  # `bounded_map` has done that
        for _ in range(len(self._threads)):  # a thread that is given up has a successor
            self._calls.put(None)
        while wait and (threads := self._working_threads()):
            threads[0].join(self._seconds / _CHECKS)
        self._ended.set()
        self._watch.join()

    def _working_threads(self) -> list[threading.Thread]:
        with self._lock:
            return [thread for thread in self._threads.values() if thread.is_alive()]

    def _start_worker(self) -> None:
        thread = threading.Thread(target=self._work, name="decode", daemon=True)
        thread.start()
        assert thread.ident is not None  # noqa: S101 - it has started
        self._threads[thread.ident] = thread

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            with self._lock:
                self._running[call] = _Clock()
            result, error = call.outcome()
            with self._lock:
                given_up = self._running.pop(call, None) is None
            if given_up:  # its result is set, and its place taken
                return
            if error is None:
                call.future.set_result(result)
            else:
                call.future.set_exception(error)
            del call, result, error  # the next call may be long in coming

    def _give_up_late_ones(self) -> None:
        while not self._ended.wait(min(self._seconds / _CHECKS, 1)):
            with self._lock:
                clocks = self._running.items()
                late = {call: clock for call, clock in clocks if clock.is_past(self._seconds)}
                for call, clock in late.items():
                    del self._running[call]
                    del self._threads[clock.thread]
                    self._start_worker()
            for call in late:
                call.future.set_result(self._late())


class _Call:
    """A call, and its future."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._function = function

    def outcome(self) -> tuple[Any, BaseException | None]:
        """Its result, or the error that it raised."""
        try:
            return self._function(), None
        except BaseException as error:
            return None, error


class _Clock:
    """What the thread that made it has used since then."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._began = time.monotonic()
        # An identifier of a thread that has ended is safe: reading it is an error.
        self._cpu = time.pthread_getcpuclockid(self.thread) if _HAS_THREAD_CLOCKS else None
        self._cpu_began = time.clock_gettime(self._cpu) if self._cpu is not None else 0.0

    def is_past(self, seconds: float) -> bool:
        """Whether the thread, which still runs the call, has used more."""
        waited = time.monotonic() - self._began
        if self._cpu is None or waited > WAITING_FACTOR * seconds:
            return waited > seconds
        return waited > seconds and time.clock_gettime(self._cpu) - self._cpu_began > seconds


_HAS_THREAD_CLOCKS = hasattr(time, "pthread_getcpuclockid")
