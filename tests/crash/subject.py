"""A small collection in two states, and everything that may be seen of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import commonspace
from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.layout import spec_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import NotPublished
from commonspace.pipeline.maintenance.retain import orphaned_files
from commonspace.pipeline.maintenance.retain import retain as remove_old
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.publish.manual import roll_back
from commonspace.pipeline.release.manifest import load_release, release_numbers
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.source.records import sha256_hex
from commonspace.pipeline.storage.store import Store, open_store
from commonspace.pipeline.workspace.work import Run
from tests.support.collection_file import jsonl, write_collection

NAME = "things/text"
SPACE = SpaceName("things", "text", 1)
SPACE_SECTION = {"name": "text", "encoder": "hashed/32", "fields": ["text"]}


def write_source(
    folder: Path, state: int, spaces: Sequence[Mapping[str, Any]] = (SPACE_SECTION,)
) -> None:
    """State 2 changes, adds, removes, moves, re-tags, breaks and heals some items of state 1;
    state 3 lacks some of its items, and state 4 has a further column; nothing else differs."""
    items: dict[str, list[dict[str, str]]] = {"one": [], "two": []}
    for partition, row in source_rows(state):
        items[partition].append(row)
    write_collection(
        folder,
        source={
            "uri": "{partition}.jsonl",
            "metadata": ["text", "tag", *(["shelf"] if state == 4 else [])],
        },
        spaces=spaces,
        files={f"{partition}.jsonl": jsonl(rows) for partition, rows in items.items()},
        run={"shard_rows": 8},
        gates={"max_deleted_share": 1.0, "max_reject_share": 0.5},
    )


def source_rows(state: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Partition and record of every item of a state."""
    for n in {1: range(24), 2: range(2, 28), 3: range(4, 24), 4: range(24)}[state]:
        text = f"item {n} says {'more' if state == 2 and n % 7 == 0 else 'less'}"
        if n == (6 if state == 2 else 5):
            text = " "
        moved = state == 2 and n in (10, 11)
        row = {"id": f"i{n:02}", "text": text, "tag": "new" if state == 2 and n % 5 == 0 else "old"}
        row |= {"shelf": f"shelf {n % 3}"} if state == 4 and n % 3 else {}
        yield "one" if (n % 2 == 0) != moved else "two", row


def wanted(state: int) -> dict[str, tuple[str, str, str]]:
    """Partition, tag and content digest that every item of a state must have, by id."""
    return {
        row["id"]: (partition, row["tag"], sha256_hex(row["text"]))
        for partition, row in source_rows(state)
        if row["text"].strip()
    }


def address(folder: Path) -> str:
    """The warehouse beside the source, or the one that the environment names."""
    return os.environ.get("COMMONSPACE_WAREHOUSE") or str(folder / "warehouse")


def store_of(folder: Path) -> Store:
    return open_store(address(folder))


def run(folder: Path) -> dict[str, Any]:
    """One run of everything; its report."""
    collection = load_collection(folder / "things.toml")
    this = Run(new_run_id(), collection, store_of(folder), quiet=True)
    return run_collection(this, list(collection.space), log=lambda _: None)[0]


def verify(folder: Path) -> list[str]:
    """What `verify` finds wrong."""
    try:
        return verify_space(store_of(folder), NAME).problems
    except CommonspaceError as error:
        return [str(error)]


def repair(folder: Path) -> dict[str, Any]:
    return verify_space(store_of(folder), NAME, repair=True).to_json()


def retain(folder: Path) -> None:
    remove_old(store_of(folder), SPACE, 1)


def rollback(folder: Path) -> None:
    """From release 5 to release 4, which is state 1, by its number: it may be called again."""
    roll_back(store_of(folder), SPACE, 4, "an incident")


def opened(folder: Path) -> Any:
    return commonspace.open(NAME, warehouse=address(folder))


def rows(space: Any) -> pa.Table:
    """Every row and every reject, without when and in which run it was made."""
    table = space.to_arrow().drop(["encoded_at", "run"]).sort_by("id")
    rejects = space.rejects.select(["id", "reason", "source_uri", "content_digest"]).sort_by("id")
    table = table.append_column("reject", pa.nulls(len(table), pa.string()))
    refused = rejects.rename_columns(["id", "reject", "source_uri", "content_digest"])
    return pa.concat_tables(
        [table, refused], promote_options="permissive"
    ).replace_schema_metadata()


def keep_rows(folder: Path, path: Path) -> None:
    """Write what is served as a file to compare with."""
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, rows(opened(folder)).schema) as f,
    ):
        f.write_table(rows(opened(folder)))


def kept_rows(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def same(one: pa.Table, other: pa.Table) -> bool:
    """Equal columns in the same order, vectors bit by bit."""
    if one.column_names != other.column_names or len(one) != len(other):
        return False
    first, second = (
        np.asarray(t["vector"].combine_chunks().drop_null().flatten()).view(np.uint32)
        for t in (one, other)
    )
    return np.array_equal(first, second) and all(
        one[name].equals(other[name]) for name in one.column_names
    )


def seen(folder: Path, states: dict[str, Path], *, table: bool = True) -> str:
    """Which of the states a reader finds: whole, through Parquet, and through LanceDB (`table`).

    `nothing` where nothing was promoted. Raises AssertionError for anything in between.
    """
    try:
        space = opened(folder)
    except NotPublished:
        return "nothing"
    pointer = load_current(store_of(folder), SPACE)
    assert pointer is not None
    assert (pointer.run == "rollback") == (pointer.hold is not None), "a rollback and no hold"
    found = rows(space)
    state = next((name for name, path in states.items() if same(kept_rows(path), found)), None)
    assert state is not None, f"{len(found)} rows of no known state"
    every = space.to_arrow()
    if all(Path(file).is_absolute() for file in space.files()):
        plain = pa.concat_tables([pq.read_table(file, partitioning=None) for file in space.files()])
        assert same(plain, every), "the plain files hold something else"
    if table:
        ids = every["id"].to_pylist()
        got = space.get(ids)
        assert all(got["found"].to_pylist()), "LanceDB lacks rows"
        assert same(got.drop(["found"]), every), "LanceDB holds other rows"
        near = space.search(vector=every["vector"][0].as_py(), k=len(ids) + 9)
        assert sorted(near["id"].to_pylist()) == sorted(ids), "search finds other rows"
        assert near["id"][0].as_py() == ids[0], "a row is not its own nearest neighbour"
    return state


def forget_recipe(folder: Path) -> None:
    """The contract as commits stored it that recorded no content recipe."""
    path = folder / "warehouse" / spec_key(SPACE)
    document = json.loads(path.read_text())
    del document["recipe"]
    path.write_text(json.dumps(document, sort_keys=True, indent=1) + "\n")


def completed(folder: Path) -> None:
    """The contract has its recipe."""
    balanced(folder)
    contract = load_contract(store_of(folder), SPACE)
    assert contract is not None
    assert contract.recipe is not None, "the contract was not completed"


def balanced(folder: Path) -> None:
    """Every manifest's ledger balances, and its rows and rejects are those of the run."""
    store = store_of(folder)
    for number in release_numbers(store, SPACE):
        release = load_release(store, SPACE, number)
        states = sum(release.ledger[s] for s in ("encoded", "reused", "kept", "rejected"))
        refused = release.rejects["rows"] if release.rejects else 0
        assert release.ledger["offered"] == states == release.rows + refused, release.ledger


def retained(folder: Path) -> None:
    """Nothing is left of what `retain` had to remove."""
    balanced(folder)
    left = sorted(path.name for path in (folder / "warehouse/things/text/v1").iterdir())
    assert "CONDEMNED" not in left, left
    assert release_numbers(store_of(folder), SPACE) == [5], release_numbers(store_of(folder), SPACE)
    assert not orphaned_files(store_of(folder), SPACE)
