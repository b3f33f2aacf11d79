"""What the source offers a space, seen beside what is published.

Rows stay whose file is gone, cut or unreadable, or holds a record that nobody can read; the last
record of a cut file is not taken, nor is one that is older than its published row.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.plan.offer.absence import (
    judge_ends,
    notices_of_staying,
    stays_unoffered,
    unterminated_files,
)
from commonspace.pipeline.plan.offer.last_records import changed_items, doubtful_items
from commonspace.pipeline.plan.offer.precedence import decide_precedence
from commonspace.pipeline.plan.offer.rivals import read_rivals, without_dropped
from commonspace.pipeline.plan.offer.transient import (
    as_retryable,
    cut_contents,
    gone_contents,
    transient_reasons,
    transient_rejects,
    unavailable_ids,
    unreadable_ids,
)
from commonspace.pipeline.pull.extents import Extents, kind_of_gone, read_extents, with_files
from commonspace.pipeline.pull.items import read_offered_items
from commonspace.pipeline.pull.rejects import count_absent, read_pull_rejects
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA, reject_row
from commonspace.pipeline.source.extents import End
from commonspace.pipeline.source.notices import NoticeCount
from commonspace.pipeline.workspace.work import Work

OFFER_REJECTS_FILE = "offer-rejects.parquet"
_CUT = Failure(
    Reason.CUT_RECORD,
    "the file ends with this record, but without a line end, and lacks what was in it before",
    retryable=True,
)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the source offers a space.

    Attributes:
        items: `id`, `digest`, `row_digest`, `partition`, `source_uri`, and PASSAGES_SCHEMA where
            the space has passages.
        rejects: REJECTS_SCHEMA rows: what is offered, but cannot be used.
        absent: How many items have no content for the space.
        unavailable: Ids of items whose published rows stay although they are not offered.
        unreadable: Ids of items that are rejects, and whose published rows go.
        staying: The file of each published row that stays because it says nothing of that row.
        unterminated: Files that are known to be written without a final line end.
        notices: What the owner should see of it.
    """

    items: pa.Table
    rejects: pa.Table
    absent: int
    unavailable: pa.Array
    unreadable: pa.Array
    staying: pa.ChunkedArray = field(default_factory=lambda: pa.chunked_array([], pa.string()))
    unterminated: tuple[str, ...] = ()
    notices: tuple[NoticeCount, ...] = ()


def read_offer(work: Work, base: Release | None, published: pa.Table) -> Offer:
    """What `pull` has found for the space, beside what is published (`published_rows`)."""
    newest = work.run.collection.source.newest
    columns = ["row_digest", "partition", "source_uri", *([newest] if newest else [])]
    items, without_content = read_offered_items(work, columns)
    rejects = read_pull_rejects(work)
    absent = count_absent(without_content, rejects, work.space)
    ids_published = published[work.contract.item_column].combine_chunks()
    transient = transient_rejects(rejects, transient_reasons(work), ids_published)
    rejects = as_retryable(rejects, transient)
    delete_missing = work.run.delete_missing
    offer = Offer(
        items=items,
        rejects=rejects,
        absent=absent,
        unavailable=unavailable_ids(rejects, delete_missing=delete_missing),
        unreadable=unreadable_ids(rejects, delete_missing=delete_missing),
        notices=cut_contents(rejects.filter(transient)["id"]),
    )
    extents = read_extents(work.run.store, work.run.folder)
    known = base.unterminated if base else ()
    if delete_missing:
        ends = judge_ends(extents.ends)
    else:
        offer, ends = _beside_published(work, base, published, offer, extents)
    learns = work.run.scope.ids is None
    unterminated = unterminated_files(known, extents.ends, ends, learns=learns)
    rivals = read_rivals(work, base, published, offer.items, ends)
    offer = _without_superseded(work, offer, rivals)
    told = notices_of_staying(offer.staying, ends, kind_of_gone(work.run.collection))
    return replace(offer, unterminated=unterminated, notices=(*told, *offer.notices))


def _beside_published(
    work: Work, base: Release | None, published: pa.Table, offer: Offer, extents: Extents
) -> tuple[Offer, dict[str, End]]:
    """The offer without what only the absence of a file, or its cut, seems to say.

    Returns:
        it, and how each file ended.
    """
    known, item = base.unterminated if base else (), work.contract.item_column
    doubtful = doubtful_items(extents, known)
    doubtful_ids = {name for name, _ in doubtful}
    absent = published.filter(_is_absent(work, published, offer.items))
    missing = with_files(work, base, absent.filter(_is_missing(work, absent, offer)))
    replaced = with_files(work, base, published.filter(_is_among(published, item, doubtful_ids)))
    changed, changed_files = changed_items(doubtful, offer.items, replaced, item)
    lacking = changed_files | set(missing["source_uri"].to_pylist())
    unreadable = set(
        offer.rejects.filter(pc.is_null(offer.rejects["id"]))["source_uri"].to_pylist()
    )
    ends = judge_ends(extents.ends, lacking=lacking, unterminated=known, unreadable=unreadable)
    cut = [name for name, file in changed.items() if ends[file] is End.CUT]
    is_cut = _is_among(offer.items, item, cut)
    rows = pa.concat_tables([missing, replaced.filter(_is_among(replaced, item, cut))])
    staying = rows.filter(stays_unoffered(rows["source_uri"], ends))
    unavailable = [offer.unavailable, pa.array(cut, pa.string()), *staying[item].chunks]
    cut_rejects = _cut_rejects(work, offer.items.filter(is_cut), extents)
    offer = replace(
        offer,
        items=offer.items.filter(pc.invert(is_cut)),
        rejects=pa.concat_tables([offer.rejects, cut_rejects]),
        unavailable=pc.unique(pa.chunked_array(unavailable, pa.string())),
        staying=staying["source_uri"],
        notices=(*offer.notices, *gone_contents(offer.rejects, absent[item])),
    )
    return offer, ends


def _without_superseded(work: Work, offer: Offer, rivals: pa.Table) -> Offer:
    """The offer without the items whose row is newer, and stays."""
    item, newest = work.contract.item_column, work.run.collection.source.newest
    precedence = decide_precedence(offer.items, rivals, item_column=item, newest=newest)
    if precedence.superseded and work.run.scope.partition is not None:
        rivals = without_dropped(work, rivals, precedence.superseded)
        precedence = decide_precedence(offer.items, rivals, item_column=item, newest=newest)
    superseded = pa.array(precedence.superseded, pa.string())
    staying = rivals.filter(pc.is_in(rivals[item], value_set=superseded))["source_uri"].drop_null()
    return replace(
        offer,
        items=offer.items.filter(pc.invert(pc.is_in(offer.items[item], value_set=superseded))),
        unavailable=pa.concat_arrays([offer.unavailable, superseded]),
        staying=pa.chunked_array([*offer.staying.chunks, *staying.chunks], pa.string()),
        notices=(*offer.notices, *precedence.notices),
    )


def _is_absent(work: Work, published: pa.Table, items: pa.Table) -> pa.ChunkedArray:
    """Which published rows of the run's partition, if it has one, are not offered."""
    item, partition = work.contract.item_column, work.run.scope.partition
    is_absent = pc.invert(pc.is_in(published[item], value_set=items[item].combine_chunks()))
    if partition is None:
        return is_absent
    return pc.and_(is_absent, pc.fill_null(pc.equal(published["partition"], partition), False))


def _is_missing(work: Work, absent: pa.Table, offer: Offer) -> pa.ChunkedArray:
    """Which absent rows are not offered for no reason of their own."""
    item = work.contract.item_column
    if work.run.scope.ids is not None:  # what a list of ids does not find is not deleted anyway
        return _is_among(absent, item, ())
    rejected = pa.concat_arrays([offer.unavailable, offer.unreadable])
    return pc.invert(pc.is_in(absent[item], value_set=rejected))


def _cut_rejects(work: Work, items: pa.Table, extents: Extents) -> pa.Table:
    """A reject for each item whose record may have lost its end."""
    rows = {row[work.contract.item_column]: row for row in items.to_pylist()}
    rejects = [
        reject_row(
            _CUT,
            stage="pull",
            run=work.run.id,
            id=item,
            partition=row["partition"],
            source_uri=row["source_uri"],
            place=extents.doubtful[row["source_uri"]].place,
        )
        for item, row in rows.items()
    ]
    return pa.Table.from_pylist(rejects, REJECTS_SCHEMA)


def _is_among(rows: pa.Table, column: str, values: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(rows[column], value_set=pa.array(values, pa.string()))


def write_offer_rejects(work: Work, rejects: pa.Table) -> None:
    """Keep the rejects of an offer for the stages that follow."""
    work.run.store.put(work.path(OFFER_REJECTS_FILE), parquet_bytes(rejects))


def read_offer_rejects(work: Work) -> pa.Table:
    """REJECTS_SCHEMA rows: what was rejected for the space before anything was encoded.

    Raises:
        UserMistake: the pull stage has not run.
    """
    key = work.path(OFFER_REJECTS_FILE)
    data = work.run.store.read(key)
    return read_pull_rejects(work) if data is None else read_table(data, key)
