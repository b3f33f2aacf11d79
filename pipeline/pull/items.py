"""pipeline/pull/items.py"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.sections import space_key
from commonspace.pipeline.contract.columns import COLUMN_TYPES
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.pull.passages import (
    has_passages,
    passages_folder,
    read_passages,
    join_items,
)
from commonspace.pipeline.workspace.work import Work


def items_schema(spaces: list[str], metadata: Mapping[str, str]) -> pa.Schema:
    """What `pull` writes: one row an item, with one content digest a space."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("partition", pa.string()),
            pa.field("source_uri", pa.string(), nullable=False),
            pa.field("locator", pa.string(), nullable=False),
            pa.field("row_digest", pa.string(), nullable=False),
            *(pa.field(f"digest:{space}", pa.string()) for space in spaces),
            *(pa.field(name, COLUMN_TYPES[kind]) for name, kind in metadata.items()),
        ]
    )


def _items(work: Work, columns: Sequence[str], ids: pa.Array | None = None) -> pa.Table:
    """What the run has pulled, or some ids of it: `id`, the space's `digest`, and `columns`."""
    run, digest = work.run, f"digest:{space_key(work.space)}"
    names = ["id", digest, *columns]
    spaces = [space_key(space) for space in run.collection.space]
    tables = [items_schema(spaces, run.collection.source.metadata).empty_table().select(names)]
    for key in run.store.list(f"{run.folder}/items"):
        data = run.store.read(key)
        if data is not None:
            table = read_table(data, key, names)
            tables.append(table if ids is None else table.filter(_among(table["id"], ids)))
    return pa.concat_tables(tables).rename_columns(["id", "digest", *columns])


def _among(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=values)


def read_offered_items(work: Work, columns: Sequence[str]) -> tuple[pa.Table, int]:
    """The items that carry content for the space, and how many carry none.

    They have `id`, `digest` and those of their `columns` that are asked for; where the space
    has passages, these are the rows, with PASSAGES_SCHEMA beside.
    """
    items = _items(work, columns)
    there = items.filter(pc.is_valid(items["digest"]))
    refused = read_pull_rejects(work, own=True).num_rows
    absent = items.num_rows - there.num_rows - refused
    if has_passages(work.space):
        folder = passages_folder(work.run.folder, work.space)
        there = join_items(read_passages(work.run.store, folder), there)
    return there, absent


def read_item_locations(work: Work, ids: pa.Array) -> pa.Table:
    """Where the content of some planned rows lies, in the order of their ids.

    `id`, `digest`, `locator`, `partition`, and PASSAGES_SCHEMA where the space has passages.
    Memory holds these rows only, however many the run has pulled.
    """
    columns = ["locator", "partition"]
    if has_passages(work.space):
        folder = passages_folder(work.run.folder, work.space)
        passages = read_passages(work.run.store, folder, ids)
        items = _items(work, columns, pc.unique(passages["item"]))
        found = join_items(passages, items)
    else:
        found = _items(work, columns, ids)
    return found.take(pc.index_in(ids, value_set=found["id"].combine_chunks()))


def read_pull_rejects(work: Work, *, own: bool = False) -> pa.Table:
    """What `pull` rejected for this space; `own`: only what it rejected for no other."""
    key = f"{work.run.folder}/pull-rejects.parquet"
    data = work.run.store.read(key)
    if data is None:
        raise UserMistake("the pull stage has not run", item=f"run {work.run.id}")
    table = read_table(data, key)
    mine = pc.fill_null(pc.equal(table["space"], space_key(work.space)), False)
    return table.filter(mine if own else pc.or_(mine, pc.is_null(table["space"])))
