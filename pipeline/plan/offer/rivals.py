"""What offered items are compared with: published rows of files that this run has not read.

Whether a row of another partition is still offered there is asked of the source, where the row
would win. An item that has moved to an earlier partition would otherwise be lost: not taken by the
run of the one, and deleted by that of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.plan.offer.absence import stays_unoffered
from commonspace.pipeline.pull.rejects import rejected_item
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import published_details
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.source.extents import End, Extent
from commonspace.pipeline.source.files import has_partitions
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.record_ids import record_id
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord
from commonspace.pipeline.workspace.work import Work


def read_rivals(
    work: Work, base: Release | None, published: pa.Table, items: pa.Table, ends: Mapping[str, End]
) -> pa.Table:
    """The item, the partition and the value of `newest` of what the offered items compete with.

    Where that is a row of the run's own scope, `source_uri` is its file, which is not whole.

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
    rivals = schema.append(pa.field("source_uri", pa.string())).empty_table()
    if base is None or not (extra or has_partitions(source.uri)):
        return rivals
    is_rival = _is_otherwise(published, items)
    if work.run.scope.partition is not None:
        is_elsewhere = _is_elsewhere(work, published, items)
        rows = _with_details(work, base, published.filter(is_elsewhere), extra)
        rows = pa.concat_tables([rows.select(schema.names), _rejects(work, base, items, schema)])
        rivals = rows.append_column("source_uri", pa.nulls(rows.num_rows, pa.string()))
        is_rival = pc.and_not(is_rival, is_elsewhere)
    if work.run.delete_missing:
        return rivals
    rows = _with_details(work, base, published.filter(is_rival), ["source_uri", *extra])
    unread = rows.filter(stays_unoffered(rows["source_uri"], ends))
    return pa.concat_tables([rivals, unread.select(rivals.column_names)])


def without_dropped(work: Work, rivals: pa.Table, items: Collection[str]) -> pa.Table:
    """The rivals without those that their partition does not offer any more.

    A partition that is gone, cut or has a record without an id says nothing of what it lacks.

    Args:
        work: the run's work on the space; the run is of a partition.
        rivals: as `read_rivals` gives them.
        items: of these, the newer rivals are asked for.
    """
    source, item = open_source(work.run.collection), work.contract.item_column
    rows = rivals.filter(pc.is_in(rivals[item], value_set=pa.array(items, pa.string())))
    asked: dict[str, set[str]] = {}
    for name, partition in zip(rows[item].to_pylist(), rows["partition"].to_pylist(), strict=True):
        if partition not in (None, work.run.scope.partition):
            asked.setdefault(partition, set()).add(name)
    dropped = {
        (name, partition)
        for partition, names in asked.items()
        for name in _dropped(work, source, partition, names)
    }
    pairs = zip(rivals[item].to_pylist(), rivals["partition"].to_pylist(), strict=True)
    return rivals.filter(pa.array([pair not in dropped for pair in pairs], pa.bool_()))


def _dropped(work: Work, source: Source, partition: str, names: set[str]) -> set[str]:
    """Those of the items that the partition surely does not offer."""
    missing = set(names)
    try:
        for found in source.scan(Scope(partition)):
            match found:
                case Record():
                    item_id = record_id(found, work.run.collection)
                case UnreadableRecord():
                    item_id = found.id or found.failure
                case Extent(end=end) if end is not End.WHOLE:
                    return set()
                case _:
                    continue
            if isinstance(item_id, Failure):  # it may be of any of them
                return set()
            if item_id is not None:
                missing.discard(item_id)
            if not missing:
                return set()
    except SourceNotFound:
        return set()
    return missing


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
