"""Damage that a run or `verify --repair` mends, and damage that only a person can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.layout import current_key, spec_key
from commonspace.pipeline.errors import Conflict, ContractBroken
from commonspace.pipeline.index.connection import connect, open_table
from commonspace.pipeline.index.sync import ReadBackMismatch, _read_back
from commonspace.pipeline.maintenance.rebuild import rebuild_table
from tests.support.warehouse import NAME, Warehouse

SOURCE = {"metadata": ["text", "tag"]}


def rows(count: int, said: str = "") -> list[dict[str, Any]]:
    return [{"id": f"i{n:02}", "text": f"item {n} {said}", "tag": "a"} for n in range(count)]


def checked(warehouse: Warehouse, **options: Any) -> dict[str, Any]:
    return warehouse.verify(**options)


def newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("damage", ["deleted", "flipped"])
def test_a_part_is_restored_from_lancedb(warehouse: Warehouse, damage: str) -> None:
    warehouse.run(rows(30), source=SOURCE)
    (part,) = (Path(file) for file in warehouse.open().files())
    whole = part.read_bytes()
    if damage == "deleted":
        part.unlink()
    else:
        part.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    assert not checked(warehouse)["ok"]
    answer = checked(warehouse, repair=True)
    assert answer["ok"]
    assert (answer["repaired"], answer["rebuilt"]) == (True, False)
    assert answer["restored"] == [part.relative_to(warehouse.root).as_posix()]
    assert part.read_bytes() == whole


def test_several_parts_are_restored(warehouse: Warehouse) -> None:
    data = {"a.jsonl": rows(5), "b.jsonl": rows(9)[5:], "c.jsonl": rows(12)[9:]}
    files = {
        name: "".join(json.dumps(row) + "\n" for row in some).encode()
        for name, some in data.items()
    }
    source = {**SOURCE, "uri": "{partition}.jsonl"}
    warehouse.run(source=source, files=files)
    parts = [Path(file) for file in warehouse.open().files()]
    whole = [part.read_bytes() for part in parts]
    assert len(parts) == 3
    parts[0].unlink()
    parts[2].write_bytes(whole[2][:-9])
    answer = checked(warehouse, repair=True)
    assert (answer["ok"], len(answer["restored"])) == (True, 2)
    assert [part.read_bytes() for part in parts] == whole


def test_a_part_is_not_restored_from_other_rows(warehouse: Warehouse) -> None:
    warehouse.run(rows(30), source=SOURCE)
    (part,) = (Path(file) for file in warehouse.open().files())
    part.unlink()
    data = newest(warehouse.root / "lancedb/things__text__v1.lance/data")
    damaged = bytearray(data.read_bytes())
    damaged[100] ^= 1  # within the first vectors
    data.write_bytes(damaged)
    answer = checked(warehouse, repair=True)
    assert not answer["ok"]
    assert "is missing" in answer["problems"][0]
    assert not part.exists()


def test_verify_compares_every_column(warehouse: Warehouse) -> None:
    warehouse.run(rows(30), source=SOURCE)
    table = open_table(connect(warehouse.address), NAME.table)
    assert table is not None
    table.update(where="id = 'i03'", values={"tag": "b"})
    current = warehouse.root / current_key(NAME)
    pointer = json.loads(current.read_text())
    del pointer["sha256"]
    current.write_text(json.dumps({**pointer, "table_version": table.version}))
    assert "other rows" in checked(warehouse)["problems"][0]
    assert checked(warehouse, repair=True)["ok"]


def test_a_run_mends_what_cannot_be_read(warehouse: Warehouse) -> None:
    """LanceDB has been seen to commit a file whose last write had failed."""
    warehouse.run(rows(30), source=SOURCE)
    table = open_table(connect(warehouse.address), NAME.table)
    assert table is not None
    table.update(where="id = 'i03'", values={"tag": "b"})
    data = newest(warehouse.root / "lancedb/things__text__v1.lance/data")
    data.write_bytes(data.read_bytes()[:-50])
    before = warehouse.open()
    assert before.get(["i03"])["tag"].to_pylist() == ["a"], "readers are on the promoted version"
    assert warehouse.run(rows(30, "again"), source=SOURCE)["state"] == "promoted"
    assert checked(warehouse)["ok"]
    assert before.get(["i03"])["tag"].to_pylist() == ["a"]


def test_a_flipped_bit_in_the_pointer_is_seen(warehouse: Warehouse) -> None:
    for said in ("once", "twice"):
        warehouse.run(rows(5, said), source=SOURCE)
    current = warehouse.root / current_key(NAME)
    whole = current.read_bytes()
    current.write_bytes(whole.replace(b'"release": 2', b'"release": 0'))
    changed = warehouse.collection(rows(5, "thrice"), source=SOURCE)
    acts = (
        lambda: warehouse.open(),
        lambda: checked(warehouse),
        lambda: warehouse.run(changed),
    )
    for act in acts:
        with pytest.raises(ContractBroken, match="checksum"):
            act()


@pytest.mark.parametrize(("old", "new"), [("fibonacci", "fibonacca"), ('"string"', '"strinh"')])
def test_a_flipped_bit_in_the_contract_is_seen(warehouse: Warehouse, old: str, new: str) -> None:
    warehouse.run(rows(5), source=SOURCE)
    spec = warehouse.root / spec_key(NAME)
    spec.write_text(spec.read_text().replace(old, new))
    with pytest.raises(ContractBroken, match="is damaged"):
        warehouse.open()


def test_a_repair_that_comes_late_leaves_what_is_served(warehouse: Warehouse) -> None:
    warehouse.run(rows(10), source=SOURCE)
    before = warehouse.open().release
    warehouse.run(rows(11), source=SOURCE)
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    with pytest.raises(Conflict, match="promoted meanwhile"):
        rebuild_table(warehouse.store, NAME, contract, before)
    assert checked(warehouse)["ok"]


def test_reading_back_sees_rows_that_somebody_else_wrote(warehouse: Warehouse) -> None:
    warehouse.run(rows(10), source=SOURCE)
    release = warehouse.open().release
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    table = open_table(connect(warehouse.address), NAME.table)
    assert table is not None
    nothing = [()] * len(release.parts)
    _read_back(table, warehouse.store, contract, release, nothing)
    table.update(where="id = 'i05'", values={"run": "another"})
    with pytest.raises(ReadBackMismatch, match="1 rows of another release"):
        _read_back(table, warehouse.store, contract, release, nothing)
