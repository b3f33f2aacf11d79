"""A lease: one holder at a time, as long as clocks are right and nobody stalls.

What must be decided once is decided by a compare-and-swap elsewhere. A lease only keeps others
from work that would be in vain, so it may be broken when its holder seems to be dead.
"""

from __future__ import annotations

import json
import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import pyarrow as pa

from commonspace.pipeline.errors import StoreFailed

SECONDS = 10.0
"""How long a lease lasts that is not renewed; a holder renews it three times as often."""


class LeaseStore(Protocol):
    """What a lease asks of the store it lies in."""

    def read(self, key: str) -> pa.Buffer | None: ...
    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool: ...


@contextmanager
def lease(store: LeaseStore, key: str, seconds: float = SECONDS) -> Iterator[None]:
    """Wait for the lease, hold it while the block runs, give it back. Raises StoreFailed."""
    owner = secrets.token_hex(8)
    held = [_taken(store, key, owner, seconds)]
    done = threading.Event()

    def renew() -> None:
        while not done.wait(seconds / 3):
            with suppress(StoreFailed):
                new = _document(owner, seconds)
                if store.compare_and_swap(key, held[0], new):
                    held[0] = new
                    continue
                found = store.read(key)  # ours all the same where an answer was lost
                if found is None or not _is_of(owner, found.to_pybytes()):
                    return  # somebody took us for dead
                held[0] = found.to_pybytes()

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        with suppress(StoreFailed):  # it runs out by itself
            store.compare_and_swap(key, held[0], _document(owner, 0.0))


def _taken(store: LeaseStore, key: str, owner: str, seconds: float) -> bytes:
    """Our lease's document, once nobody else's is alive."""
    seen, since = b"", 0.0
    while True:
        data = store.read(key)
        found = None if data is None else data.to_pybytes()
        if found != seen:
            seen, since = found or b"", time.monotonic()
        # A holder whose clock is ahead is waited for no longer than one that died just now.
        if found is None or _ended(found) or time.monotonic() - since > seconds:
            mine = _document(owner, seconds)
            if store.compare_and_swap(key, found, mine):
                return mine
            continue
        time.sleep(random.uniform(0.1, 0.5))  # noqa: S311


def _document(owner: str, seconds: float) -> bytes:
    until = time.time() + seconds if seconds else 0.0
    return json.dumps({"owner": owner, "until": until}).encode()


def _is_of(owner: str, document: bytes) -> bool:
    try:
        return bool(json.loads(document)["owner"] == owner)
    except (ValueError, TypeError, KeyError):
        return False


def _ended(document: bytes) -> bool:
    """Whether its time is over; what cannot be read is nobody's."""
    try:
        return bool(json.loads(document)["until"] <= time.time())
    except (ValueError, TypeError, KeyError):
        return True
