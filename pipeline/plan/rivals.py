"""What offered items are compared with: published rows of files that this run has not read."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.plan.rejects import rejected_item
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import published_details
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.source.extents import End
from commonspace.pipeline.source.files import PLACEHOLDER
from commonspace.pipeline.workspace.work import Work


def read_rivals(
    work: Work, base: Release | None, published: pa.Table, items: pa.Table, ends: Mapping[str, End]
) -> pa.Table:
    """The item, the partition and the value of `newest` of what the offered items compete with.

    Args:
        work: the run's work on the space.
        base: the release that is served.
        published: its rows, as `published_rows` gives them.
        items: `id`, `row_digest` and the item of what is offered.
        ends: how each file of the run's scope ended.
    """
    source, item = work.run.collection.source, work.contract.item_column
    extra = [source.newest] if source.newest else []
    schema = pa.schema([work.contract.schema.field(name) for name in (item, "partition", *extra)])
    nothing = schema.empty_table()
    if base is None or not (extra or PLACEHOLDER in source.uri):
        return nothing
    if work.run.scope.partition is not None:
        rows = published.filter(_is_elsewhere(work, published, items))
        rows = _with_details(work, base, rows, extra)
        return pa.concat_tables([rows.select(schema.names), _rejects(work, base, items, schema)])
    if work.run.delete_missing:
        return nothing
    rows = published.filter(_is_otherwise(published, items))
    rows = _with_details(work, base, rows, ["source_uri", *extra])
    unread = [ends.get(file) is not End.WHOLE for file in rows["source_uri"].to_pylist()]
    return rows.filter(pa.array(unread, pa.bool_())).select(schema.names)


def _is_elsewhere(work: Work, published: pa.Table, items: pa.Table) -> pa.ChunkedArray:
    """Which published rows of offered items are of another partition than the run's."""
    item = work.contract.item_column
    is_offered = pc.is_in(published[item], value_set=items[item].combine_chunks())
    is_there = pc.fill_null(pc.equal(published["partition"], work.run.scope.partition), False)
    return pc.and_not(is_offered, is_there)


def _is_otherwise(published: pa.Table, items: pa.Table) -> pa.ChunkedArray:
    """Which published rows are offered with another partition, file or metadata."""
    row = pc.index_in(published["id"], value_set=items["id"].combine_chunks())
    offered = items["row_digest"].combine_chunks().take(row)
    return pc.fill_null(pc.not_equal(published["row_digest"], offered), False)


def _with_details(work: Work, base: Release, rows: pa.Table, columns: list[str]) -> pa.Table:
    """The published rows with more of their columns."""
    if not columns:
        return rows
    ids = rows["id"].combine_chunks()
    details = published_details(work.run.store, base, work.contract, columns, ids)
    found = pc.index_in(ids, value_set=details["id"].combine_chunks())
    for name in columns:
        rows = rows.append_column(name, details[name].take(found))
    return rows


def _rejects(work: Work, base: Release, items: pa.Table, schema: pa.Schema) -> pa.Table:
    """The lasting rejects of later partitions' contents: an older one does not take their place."""
    item, run = work.contract.item_column, work.run
    offered, partition = set(items[item].to_pylist()), run.scope.partition or ""
    found = [
        {**dict.fromkeys(schema.names), item: name, "partition": row["partition"]}
        for row in read_rejects(run.store, base).to_pylist()
        if (name := rejected_item(row, work.space)) in offered
        and (row["stage"], row["retryable"]) == ("encode", False)
        and (row["partition"] or "") > partition
    ]
    return pa.Table.from_pylist(found, schema)
