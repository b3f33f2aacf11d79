"""What stands in a store."""

from __future__ import annotations

from commonspace.pipeline.storage.store import Store


def read(store: Store, key: str) -> bytes | None:
    data = store.read(key)
    return None if data is None else data.to_pybytes()
