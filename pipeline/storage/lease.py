"""A lease: a lock that expires, held by one process at a time while clocks are right.

What must be decided once is decided by a compare-and-swap elsewhere. A lease only saves others
from needless work, so it may be broken when its holder seems to be dead.
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

from commonspace.pipeline.errors import CommonspaceError

LEASE_SECONDS = 10.0
"""How long a lease lasts that is not renewed; its holder renews it three times as often."""


class LeaseStore(Protocol):
    """What a lease needs of the store that it is kept in."""

    def read(self, key: str) -> pa.Buffer | None: ...
    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool: ...


@contextmanager
def lease(store: LeaseStore, key: str, seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Wait for the lease, hold it while the block runs, give it back.

    Raises:
        ContractBroken, StoreFailed: of the store, while the lease was being acquired.
    """
    owner = secrets.token_hex(8)
    document = _acquire(store, key, owner, seconds)
    done = threading.Event()

    def renew() -> None:
        nonlocal document
        while not done.wait(seconds / 3):
            with suppress(CommonspaceError):
                renewed = _document(owner, seconds)
                if store.compare_and_swap(key, document, renewed):
                    document = renewed
                    continue
                stored = store.read(key)  # our own where the answer to a swap was lost
                if stored is None or not _is_owned_by(owner, stored.to_pybytes()):
                    return  # another process took this one for dead
                document = stored.to_pybytes()

    renewal = threading.Thread(target=renew, daemon=True)
    renewal.start()
    try:
        yield
    finally:
        done.set()
        renewal.join()
        with suppress(CommonspaceError):  # it expires by itself
            store.compare_and_swap(key, document, _document(owner, 0.0))


def _acquire(store: LeaseStore, key: str, owner: str, seconds: float) -> bytes:
    """The lease's document as this owner has written it, once nobody else's is valid."""
    last_seen, since = b"", 0.0
    while True:
        data = store.read(key)
        stored = None if data is None else data.to_pybytes()
        if stored != last_seen:
            last_seen, since = stored or b"", time.monotonic()
        # A holder whose clock is ahead is waited for no longer than one that died just now.
        if stored is None or _is_expired(stored) or time.monotonic() - since > seconds:
            document = _document(owner, seconds)
            if store.compare_and_swap(key, stored, document):
                return document
            continue
        time.sleep(random.uniform(0.1, 0.5))  # noqa: S311


def _document(owner: str, seconds: float) -> bytes:
    """A lease of so many seconds from now; one of none has expired already."""
    until = time.time() + seconds if seconds else 0.0
    return json.dumps({"owner": owner, "until": until}).encode()


def _is_owned_by(owner: str, document: bytes) -> bool:
    try:
        return bool(json.loads(document)["owner"] == owner)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_expired(document: bytes) -> bool:
    """Whether its time is over; one that cannot be read counts as expired."""
    try:
        return bool(json.loads(document)["until"] <= time.time())
    except (ValueError, TypeError, KeyError, RecursionError):
        return True
