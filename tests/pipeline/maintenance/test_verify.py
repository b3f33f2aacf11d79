"""What `verify` finds, and what it repairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commonspace.pipeline.contract.layout import current_key, release_key
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index.connection import connect, open_table
from commonspace.pipeline.release.manifest import load_release
from tests.support.warehouse import NAME, Warehouse, numbered_items


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_verify_finds_a_damaged_part(warehouse: Warehouse, damage: str) -> None:
    warehouse.run(numbered_items(50))
    path = Path(warehouse.open().files()[0])
    data = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data if damage == "flip" else data[:-100])
    answer = warehouse.verify()
    assert not answer["ok"]
    assert path.name in answer["problems"][0]


def test_verify_finds_a_damaged_manifest(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(5))
    path = warehouse.root / release_key(NAME, 1)
    path.write_text(path.read_text().replace('"rows": 5', '"rows": 6'))
    with pytest.raises(ContractBroken, match="checksum"):
        load_release(warehouse.store, NAME, 1)


def test_verify_finds_and_repairs_a_foreign_write_to_lancedb(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(20))
    table = open_table(connect(str(warehouse.root)), NAME.table)
    assert table is not None
    table.delete("id = 'i0003'")
    before = (warehouse.root / current_key(NAME)).read_text()
    pointer = json.loads(before)
    assert warehouse.verify()["ok"], "readers are pinned to the promoted version"
    pointer["table_version"] = table.version
    del pointer["sha256"]
    (warehouse.root / current_key(NAME)).write_text(json.dumps(pointer))
    assert not warehouse.verify()["ok"]
    (warehouse.root / current_key(NAME)).write_text(before)
    reader = warehouse.open()
    (warehouse.root / current_key(NAME)).write_text(json.dumps(pointer))
    answer = warehouse.verify(repair=True)
    assert answer["ok"]
    assert reader.get(["i0003"])["found"].to_pylist() == [True], "its version is still there"
    assert (answer["repaired"], answer["rebuilt"], answer["restored"]) == (True, True, [])
    assert warehouse.open().get(["i0003"])["found"].to_pylist() == [True]


@pytest.mark.parametrize("damage", ["data", "manifest"])
def test_a_damaged_table_is_repaired(warehouse: Warehouse, damage: str) -> None:
    warehouse.run(numbered_items(200))
    folder = "data" if damage == "data" else "_versions"
    for path in (warehouse.root / f"lancedb/{NAME.table}.lance" / folder).iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert not warehouse.verify()["ok"]
    assert warehouse.verify(repair=True)["ok"]
    assert len(warehouse.open().search("item 7", k=3)) == 3


def test_a_lost_table_is_rebuilt_by_the_next_run(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(20))
    warehouse.run(collection)
    connect(str(warehouse.root)).drop_table(NAME.table)
    warehouse.run(collection)
    assert warehouse.verify()["ok"]
