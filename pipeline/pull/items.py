"""The items that a run has pulled: their schema, and how the later stages read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.sections import space_key
from commonspace.pipeline.contract.columns import COLUMN_TYPES
from commonspace.pipeline.contract.layout import items_folder, passages_folder
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.pull.passages import has_passages, join_items, read_passages
from commonspace.pipeline.workspace.work import Work


def items_schema(spaces: list[str], metadata: Mapping[str, str]) -> pa.Schema:
    """The schema of an item: its place in the source, a content digest a space, its metadata.

    Args:
        spaces: by `space_key`, as in `digest:blurb/v2`.
        metadata: the declared type of each metadata column.
    """
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


def read_offered_items(work: Work, columns: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """The items with usable content for the space, and those without.

    Returns:
        `id`, `digest` and the given `columns` of the items. Where the space has passages, a row
        of the first is a passage, with the columns of PASSAGES_SCHEMA besides.
    """
    items = _read_items(work, columns)
    usable = items.filter(pc.is_valid(items["digest"]))
    without_content = items.filter(pc.is_null(items["digest"]))
    if has_passages(work.space):
        folder = passages_folder(work.run.folder, space_key(work.space))
        usable = join_items(read_passages(work.run.store, folder), usable)
    return usable, without_content


def read_item_locations(
    work: Work, ids: pa.Array, columns: Sequence[str] = ("locator", "partition")
) -> pa.Table:
    """Where the content of some planned rows is, in the order of their ids.

    Memory holds these rows only, however many the run has pulled.

    Returns:
        `id`, `digest`, the given `columns`, and PASSAGES_SCHEMA where the space has passages.
    """
    if has_passages(work.space):
        folder = passages_folder(work.run.folder, space_key(work.space))
        passages = read_passages(work.run.store, folder, ids)
        items = _read_items(work, columns, pc.unique(passages["item"]))
        rows = join_items(passages, items)
    else:
        rows = _read_items(work, columns, ids)
    return rows.take(pc.index_in(ids, value_set=rows["id"].combine_chunks()))


def _read_items(work: Work, columns: Sequence[str], ids: pa.Array | None = None) -> pa.Table:
    """`id`, the space's `digest` and `columns` of the pulled items, all or those of some ids."""
    run, digest = work.run, f"digest:{space_key(work.space)}"
    names = ["id", digest, *columns]
    spaces = [space_key(space) for space in run.collection.space]
    tables = [
        items_schema(spaces, run.collection.source.published_types).empty_table().select(names)
    ]
    for key in run.store.list(items_folder(run.folder)):
        data = run.store.read(key)
        if data is not None:
            table = read_table(data, key, names)
            rows = table if ids is None else table.filter(pc.is_in(table["id"], value_set=ids))
            tables.append(rows)
    return pa.concat_tables(tables).rename_columns(["id", "digest", *columns])
