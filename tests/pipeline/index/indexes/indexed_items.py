"""Items whose vectors can be told apart, or not, in spaces with an index."""

from __future__ import annotations

import random
from typing import Any

from commonspace.pipeline.release.pointer import Current, load_current
from tests.support.warehouse import NAME, Warehouse

SPACE = {"name": "text", "encoder": "hashed/32", "fields": ["text"], "vector_index": "ivf_sq"}
SOURCE = {"metadata": ["tag"]}


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Items of eight words out of a thousand; one in fifty has the tag `rare`."""
    chance = random.Random(seed)
    return [
        {
            "id": f"i{n:05}",
            "text": " ".join(f"w{chance.randrange(1000)}" for _ in range(8)),
            "tag": "rare" if n % 50 == 7 else "common",
        }
        for n in range(count)
    ]


def alike(count: int) -> list[dict[str, Any]]:
    """Items that differ by less than an index of 8 bits a number can tell."""
    common = " ".join(f"w{n}" for n in range(40) for _ in range(25))
    return [
        {"id": f"i{n:05}", "text": f"{common} x{n} y{n * 7} z{n * 3}", "tag": ""}
        for n in range(count)
    ]


def declared(warehouse: Warehouse, items: list[dict[str, Any]], **space: Any) -> Any:
    limit = space.pop("min_index_recall", 0.95)
    return warehouse.collection(
        items,
        source=SOURCE,
        spaces=[{**SPACE, **space}],
        gates={"min_index_recall": limit, "max_deleted_share": 1.0, "max_drift": 1.0},
    )


def pointer(warehouse: Warehouse) -> Current:
    found = load_current(warehouse.store, NAME)
    assert found is not None
    return found
