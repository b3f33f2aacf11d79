"""What stands in a store."""

from __future__ import annotations

from commonspace.pipeline.storage.store import Store


def increment(store: Store, key: str, times: int) -> None:
    """Add one to the number under a key, over and over, whoever else does."""
    for _ in range(times):
        while True:
            data = read(store, key)
            if store.compare_and_swap(key, data, b"%d" % (int(data or b"0") + 1)):
                break


def read(store: Store, key: str) -> bytes | None:
    data = store.read(key)
    return None if data is None else data.to_pybytes()
