"""Retired versions are removed on request, and what is interrupted is finished."""

from __future__ import annotations

import shutil

import pytest

from commonspace.pipeline.contract.layout import retirement_key
from commonspace.pipeline.errors import NotPublished, UserMistake
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.maintenance.drop import drop_version
from commonspace.pipeline.maintenance.retain_all import retain_all
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.markers.pins import pin_release, unpin_release
from commonspace.pipeline.release.markers.retirement import retire_space, revive_space
from tests.support.warehouse import NAME, Warehouse, numbered_items


def test_a_retired_version_is_removed_on_request_only(warehouse: Warehouse) -> None:
    warehouse.publish_releases(2)
    pin_release(warehouse.store, NAME, 1)
    retire_space(warehouse.store, NAME, "over")
    assert retain_all(warehouse.store, [], keep=5)[0]["removed"] == []
    (answer,) = retain_all(warehouse.store, [], keep=1, retired=True)
    assert answer["kept"] == {"1": "pinned", "2": "current"}
    with pytest.raises(UserMistake, match="pinned releases are kept: 1"):
        drop_version(warehouse.store, NAME)
    unpin_release(warehouse.store, NAME, 1)
    assert retain_all(warehouse.store, [], retired=True, dry_run=True)[0]["removed"] == [1, 2]
    assert release_numbers(warehouse.store, NAME) == [1, 2]
    assert retain_all(warehouse.store, [], retired=True)[0]["removed"] == [1, 2]
    assert warehouse.store.list(str(NAME)) == [retirement_key(NAME)]
    assert NAME.table not in connect(warehouse.address).list_tables().tables
    assert retain_all(warehouse.store, [], retired=True) == []
    with pytest.raises(NotPublished, match="no promoted release"):
        warehouse.open()
    with pytest.raises(UserMistake, match="retired"):
        warehouse.run(numbered_items(1))


def test_an_interrupted_drop_cannot_be_taken_back(warehouse: Warehouse) -> None:
    """LanceDB fails in the middle; its words come as one of our errors."""
    warehouse.publish_releases(1)
    retire_space(warehouse.store, NAME)
    database = warehouse.root / "lancedb"
    shutil.move(database, database.with_name("aside"))
    database.write_text("a file stands where the database was")
    (answer,) = retain_all(warehouse.store, [], retired=True)
    assert (answer["error"], answer["item"]) == ("ContractBroken", "things/text/v1")
    with pytest.raises(UserMistake, match="its rows were removed"):
        revive_space(warehouse.store, NAME)
    database.unlink()
    shutil.move(database.with_name("aside"), database)
    assert retain_all(warehouse.store, [], retired=True)[0]["removed"] == [1]
    assert warehouse.store.list(str(NAME)) == [retirement_key(NAME)]
