"""Failures that may only say that a file was being written, or copied, when it was read.

An image or a text that lies in a file of its own can be cut or empty for a moment, or away with the
disk that it is on. Where a row of its item is published, that row stays until its owner lets it go,
and the failure is one that trying again may help.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.plan.offer.absence import ROWS_THAT_STAY
from commonspace.pipeline.source.content import reasons_of_unfinished_files
from commonspace.pipeline.source.notices import Notice, NoticeCount, NoticeKind, Notices
from commonspace.pipeline.workspace.work import Work

GONE = frozenset({Reason.MISSING_CONTENT, Reason.SOURCE_UNREADABLE})
"""Of a content whose file is not there, or cannot be opened; the transient ones are retryable."""


def transient_reasons(work: Work) -> frozenset[Reason]:
    """The reasons for which a published row of the space stays; none where the run deletes it."""
    if work.run.delete_missing:
        return frozenset()
    return reasons_of_unfinished_files(work.space, work.run.collection.source)


def has_reason(failures: pa.Table, reasons: Iterable[Reason]) -> pa.ChunkedArray:
    """Which of the rows with a column `reason` have one of these."""
    return pc.is_in(failures["reason"], value_set=pa.array(map(str, reasons), pa.string()))


def transient_failures(
    failures: Mapping[str, Failure], reasons: Collection[Reason], published: pa.ChunkedArray
) -> dict[str, Failure]:
    """The failures by id, those of published ids with one of the reasons retryable."""
    may_be = pa.array(
        [item for item, failure in failures.items() if failure.reason in reasons], pa.string()
    )
    is_published = pc.is_in(may_be, value_set=published.combine_chunks())
    transient = set(may_be.filter(is_published).to_pylist())
    return {
        item: replace(failure, retryable=True) if item in transient else failure
        for item, failure in failures.items()
    }


def transient_rejects(
    rejects: pa.Table, reasons: Iterable[Reason], published: pa.Array
) -> pa.ChunkedArray:
    """Which rejects (`id`, `reason`) are of published items, and have one of the reasons."""
    return pc.and_(has_reason(rejects, reasons), pc.is_in(rejects["id"], value_set=published))


def as_retryable(rejects: pa.Table, transient: pa.ChunkedArray) -> pa.Table:
    """The rejects, those that `transient` marks retryable."""
    column = rejects.schema.get_field_index("retryable")
    retryable = pc.or_(rejects["retryable"], transient)
    return rejects.set_column(column, rejects.schema.field(column), retryable)


def unavailable_ids(pull_rejects: pa.Table, *, delete_missing: bool) -> pa.Array:
    """Ids whose content could not be loaded for a transient reason: their published rows stay.

    Args:
        pull_rejects: REJECTS_SCHEMA rows.
        delete_missing: whether the run lets the rows go whose content is gone.
    """
    transient = pull_rejects["retryable"]
    if delete_missing:
        transient = pc.and_not(transient, has_reason(pull_rejects, GONE))
    return pull_rejects.filter(transient)["id"].combine_chunks().drop_null()


def unreadable_ids(pull_rejects: pa.Table, *, delete_missing: bool) -> pa.Array:
    """Ids of items that could not be read, and are not unavailable: their published rows go.

    A later record of an id that is already used says nothing about the first.
    """
    is_first = pc.not_equal(pull_rejects["reason"], str(Reason.DUPLICATE_ID))
    ids = pull_rejects.filter(is_first)["id"].combine_chunks().drop_null()
    unavailable = unavailable_ids(pull_rejects, delete_missing=delete_missing)
    return ids.filter(pc.invert(pc.is_in(ids, value_set=unavailable)))


def cut_contents(ids: pa.ChunkedArray) -> tuple[NoticeCount, ...]:
    """The notice of published rows that stay because their content may be cut."""
    return _rows_that_stay(NoticeKind.CONTENT_CUT, ids)


def gone_contents(rejects: pa.Table, absent: pa.ChunkedArray) -> tuple[NoticeCount, ...]:
    """The notice of published rows that stay because the file of their content is gone.

    Args:
        rejects: REJECTS_SCHEMA rows.
        absent: the item of each published row of the run's scope that is not offered.
    """
    gone = pc.and_(rejects["retryable"], has_reason(rejects, GONE))
    is_gone = pc.is_in(absent, value_set=rejects.filter(gone)["id"].combine_chunks())
    return _rows_that_stay(NoticeKind.CONTENT_GONE, absent.filter(is_gone))


def _rows_that_stay(kind: NoticeKind, ids: pa.ChunkedArray) -> tuple[NoticeCount, ...]:
    notices = Notices()
    for item in ids.to_pylist():
        notices.add(Notice(kind, ROWS_THAT_STAY, item))
    return notices.counts()
