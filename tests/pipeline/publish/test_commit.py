"""What a release rests on when it is committed or announced."""

from __future__ import annotations

import hashlib

import pytest

from commonspace.pipeline.contract.layout import (
    canary_key,
    parts_folder,
    promotion_key,
    removal_key,
)
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict
from commonspace.pipeline.publish.pending import announce
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.markers.marker import marker_bytes
from commonspace.pipeline.release.markers.removal import PendingRemoval
from commonspace.pipeline.storage.local import LocalStore
from tests.support.warehouse import Warehouse, numbered_items

NAME = SpaceName("things", "text", 1)


def test_every_release_names_the_canary_of_the_space(warehouse: Warehouse) -> None:
    for count in (5, 6):
        warehouse.run(numbered_items(count))
        stored = warehouse.store.read(canary_key(NAME))
        assert stored is not None
        assert warehouse.open().release.canary == hashlib.sha256(stored).hexdigest()


def test_a_release_that_is_being_removed_is_not_announced(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(5))
    release, store = load_release(warehouse.store, NAME, 1), warehouse.store
    store.put(removal_key(NAME), marker_bytes(PendingRemoval(releases=(1,), files=())))
    with pytest.raises(Conflict, match="release 1 is being removed"):
        announce(store, NAME, release, "promote")
    assert not store.exists(promotion_key(NAME))


class PartsRemovedOnce(LocalStore):
    """A store in which `retain` of another process removes each new part once, as it is written."""

    removed: set[str]

    def put_if_absent(self, key: str, data: bytes) -> bool:
        is_new = super().put_if_absent(key, data)
        if key.startswith(parts_folder(NAME)) and key not in self.removed:
            self.removed.add(key)
            self.delete(key)
        return is_new


def test_a_part_that_retention_removes_as_it_is_written_is_written_again(
    warehouse: Warehouse,
) -> None:
    store = PartsRemovedOnce(warehouse.root)
    store.removed = set()
    shared = Warehouse(warehouse.folder, store)
    report = shared.run_without_error(numbered_items(5))
    assert len(store.removed) == 1
    assert report["ledger"]["encoded"] == 5
    assert shared.verify()["ok"]
