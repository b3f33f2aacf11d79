"""Warehouses of a few releases, and what must hold of them after retention."""

from __future__ import annotations

from commonspace.pipeline.contract.layout import release_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.maintenance.retain import orphaned_files
from commonspace.pipeline.release.history import load_manifests
from commonspace.pipeline.release.markers.removal import PendingRemoval, load_pending_removal
from tests.support.warehouse import NAME, Warehouse


def damage_manifest(warehouse: Warehouse, name: SpaceName, number: int) -> None:
    """Change one figure of a manifest."""
    data = warehouse.store.read(release_key(name, number))
    assert data is not None
    warehouse.store.put(
        release_key(name, number), data.to_pybytes().replace(b'"rows": ', b'"rows": 9')
    )


def check_whole(warehouse: Warehouse) -> None:
    """Every kept release has all its files, and there is nothing else."""
    assert warehouse.verify()["ok"]
    assert not orphaned_files(warehouse.store, NAME)
    assert load_pending_removal(warehouse.store, NAME) == PendingRemoval()
    for number in load_manifests(warehouse.store, NAME):
        assert len(warehouse.open().at(number).to_arrow()) == number
