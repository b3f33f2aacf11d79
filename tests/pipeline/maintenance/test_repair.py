"""Damage that a run or `verify --repair` mends, and damage that only a person can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.contract.contract import stored_contract
from commonspace.pipeline.contract.layout import current_key, spec_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken
from commonspace.pipeline.index.connection import connect, open_table
from commonspace.pipeline.index.sync import Unfaithful, _read_back
from commonspace.pipeline.maintenance.verify import _rebuild, verify_space
from commonspace.pipeline.read.space import open_space
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.work import Run

NAME = SpaceName("things", "text", 1)
SOURCE = {"metadata": ["text", "tag"]}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "warehouse")


def rows(count: int, said: str = "") -> list[dict[str, Any]]:
    return [{"id": f"i{n:02}", "text": f"item {n} {said}", "tag": "a"} for n in range(count)]


def go(collection: Any, store: LocalStore) -> dict[str, Any]:
    run = Run(new_run_id(), collection, store, quiet=True)
    return run_collection(run, list(collection.space), log=lambda _: None)[0]


def checked(store: LocalStore, **options: Any) -> dict[str, Any]:
    return verify_space(store, "things/text", **options)


def newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("damage", ["deleted", "flipped"])
def test_a_part_is_restored_from_lancedb(
    make_collection: Any, store: LocalStore, damage: str
) -> None:
    go(make_collection(rows(30), source=SOURCE), store)
    (part,) = (Path(file) for file in open_space("things/text", warehouse=store.address).files())
    whole = part.read_bytes()
    if damage == "deleted":
        part.unlink()
    else:
        part.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    assert not checked(store)["ok"]
    answer = checked(store, repair=True)
    assert answer["ok"]
    assert (answer["repaired"], answer["rebuilt"]) == (True, False)
    assert answer["restored"] == [part.relative_to(store.root).as_posix()]
    assert part.read_bytes() == whole


def test_several_parts_are_restored(make_collection: Any, store: LocalStore) -> None:
    data = {"a.jsonl": rows(5), "b.jsonl": rows(9)[5:], "c.jsonl": rows(12)[9:]}
    files = {
        name: "".join(json.dumps(row) + "\n" for row in some).encode()
        for name, some in data.items()
    }
    source = {**SOURCE, "uri": "{partition}.jsonl"}
    go(make_collection(source=source, files=files), store)
    parts = [Path(file) for file in open_space("things/text", warehouse=store.address).files()]
    whole = [part.read_bytes() for part in parts]
    assert len(parts) == 3
    parts[0].unlink()
    parts[2].write_bytes(whole[2][:-9])
    answer = checked(store, repair=True)
    assert (answer["ok"], len(answer["restored"])) == (True, 2)
    assert [part.read_bytes() for part in parts] == whole


def test_a_part_is_not_restored_from_other_rows(make_collection: Any, store: LocalStore) -> None:
    go(make_collection(rows(30), source=SOURCE), store)
    (part,) = (Path(file) for file in open_space("things/text", warehouse=store.address).files())
    part.unlink()
    data = newest(store.root / "lancedb/things__text__v1.lance/data")
    damaged = bytearray(data.read_bytes())
    damaged[100] ^= 1  # within the first vectors
    data.write_bytes(damaged)
    answer = checked(store, repair=True)
    assert not answer["ok"]
    assert "is missing" in answer["problems"][0]
    assert not part.exists()


def test_verify_compares_every_column(make_collection: Any, store: LocalStore) -> None:
    go(make_collection(rows(30), source=SOURCE), store)
    table = open_table(connect(store.address), NAME.table)
    assert table is not None
    table.update(where="id = 'i03'", values={"tag": "b"})
    current = store.root / current_key(NAME)
    pointer = json.loads(current.read_text())
    del pointer["sha256"]
    current.write_text(json.dumps({**pointer, "table_version": table.version}))
    assert "other rows" in checked(store)["problems"][0]
    assert checked(store, repair=True)["ok"]


def test_a_run_mends_what_cannot_be_read(make_collection: Any, store: LocalStore) -> None:
    """LanceDB has been seen to commit a file whose last write had failed."""
    go(make_collection(rows(30), source=SOURCE), store)
    table = open_table(connect(store.address), NAME.table)
    assert table is not None
    table.update(where="id = 'i03'", values={"tag": "b"})
    data = newest(store.root / "lancedb/things__text__v1.lance/data")
    data.write_bytes(data.read_bytes()[:-50])
    before = open_space("things/text", warehouse=store.address)
    assert before.get(["i03"])["tag"].to_pylist() == ["a"], "readers are on the promoted version"
    assert go(make_collection(rows(30, "again"), source=SOURCE), store)["state"] == "promoted"
    assert checked(store)["ok"]
    assert before.get(["i03"])["tag"].to_pylist() == ["a"]


def test_a_flipped_bit_in_the_pointer_is_seen(make_collection: Any, store: LocalStore) -> None:
    for said in ("once", "twice"):
        go(make_collection(rows(5, said), source=SOURCE), store)
    current = store.root / current_key(NAME)
    whole = current.read_bytes()
    current.write_bytes(whole.replace(b'"release": 2', b'"release": 0'))
    changed = make_collection(rows(5, "thrice"), source=SOURCE)
    acts = (
        lambda: open_space("things/text", warehouse=store.address),
        lambda: checked(store),
        lambda: go(changed, store),
    )
    for act in acts:
        with pytest.raises(ContractBroken, match="checksum"):
            act()


@pytest.mark.parametrize(("old", "new"), [("fibonacci", "fibonacca"), ('"string"', '"strinh"')])
def test_a_flipped_bit_in_the_contract_is_seen(
    make_collection: Any, store: LocalStore, old: str, new: str
) -> None:
    go(make_collection(rows(5), source=SOURCE), store)
    spec = store.root / spec_key(NAME)
    spec.write_text(spec.read_text().replace(old, new))
    with pytest.raises(ContractBroken, match="is damaged"):
        open_space("things/text", warehouse=store.address)


def test_a_repair_that_comes_late_leaves_what_is_served(
    make_collection: Any, store: LocalStore
) -> None:
    go(make_collection(rows(10), source=SOURCE), store)
    before = open_space("things/text", warehouse=store.address).release
    go(make_collection(rows(11), source=SOURCE), store)
    contract = stored_contract(store, NAME)
    assert contract is not None
    with pytest.raises(Conflict, match="promoted meanwhile"):
        _rebuild(store, NAME, contract, before)
    assert checked(store)["ok"]


def test_reading_back_sees_rows_that_somebody_else_wrote(
    make_collection: Any, store: LocalStore
) -> None:
    go(make_collection(rows(10), source=SOURCE), store)
    release = open_space("things/text", warehouse=store.address).release
    contract = stored_contract(store, NAME)
    assert contract is not None
    table = open_table(connect(store.address), NAME.table)
    assert table is not None
    nothing = [()] * len(release.parts)
    _read_back(table, store, contract, release, nothing)
    table.update(where="id = 'i05'", values={"run": "another"})
    with pytest.raises(Unfaithful, match="1 rows of another release"):
        _read_back(table, store, contract, release, nothing)
