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
from commonspace.pipeline.plan.absence import ROWS_THAT_STAY
from commonspace.pipeline.source.notices import Notice, NoticeCount, NoticeKind, Notices
from commonspace.pipeline.workspace.work import Work

_OF_IMAGES = frozenset({Reason.EMPTY_IMAGE, Reason.TRUNCATED_IMAGE, Reason.UNREADABLE_IMAGE})
_OF_TEXT_FILES = frozenset({Reason.EMPTY_TEXT, Reason.INVALID_UNICODE})
GONE = frozenset({Reason.MISSING_CONTENT, Reason.SOURCE_UNREADABLE})
"""Of a content whose file is not there, or cannot be opened; those that may pass are retryable."""


def passing_reasons(work: Work) -> frozenset[Reason]:
    """The reasons for which a published row of the space stays; none where the run deletes it."""
    if work.run.delete_missing:
        return frozenset()
    if work.space.modality == "image":
        return _OF_IMAGES
    return _OF_TEXT_FILES if work.run.collection.source.kind == "folder" else frozenset()


def has_reason(failures: pa.Table, reasons: Iterable[Reason]) -> pa.ChunkedArray:
    """Which of the rows with a column `reason` have one of these."""
    return pc.is_in(failures["reason"], value_set=pa.array(map(str, reasons), pa.string()))


def passing_failures(
    failures: Mapping[str, Failure], reasons: Collection[Reason], published: pa.ChunkedArray
) -> dict[str, Failure]:
    """The failures by id, those of published ids with one of the reasons retryable."""
    may_pass = pa.array(
        [item for item, failure in failures.items() if failure.reason in reasons], pa.string()
    )
    passing = set(may_pass.filter(pc.is_in(may_pass, value_set=_flat(published))).to_pylist())
    return {
        item: replace(failure, retryable=True) if item in passing else failure
        for item, failure in failures.items()
    }


def passing_rejects(
    rejects: pa.Table, reasons: Iterable[Reason], published: pa.Array
) -> pa.ChunkedArray:
    """Which rejects (`id`, `reason`) are of published items, and have one of the reasons."""
    return pc.and_(has_reason(rejects, reasons), pc.is_in(rejects["id"], value_set=published))


def as_retryable(rejects: pa.Table, passing: pa.ChunkedArray) -> pa.Table:
    """The rejects, those that `passing` marks retryable."""
    column = rejects.schema.get_field_index("retryable")
    retryable = pc.or_(rejects["retryable"], passing)
    return rejects.set_column(column, rejects.schema.field(column), retryable)


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
    is_gone = pc.is_in(absent, value_set=_flat(rejects.filter(gone)["id"]))
    return _rows_that_stay(NoticeKind.CONTENT_GONE, absent.filter(is_gone))


def _rows_that_stay(kind: NoticeKind, ids: pa.ChunkedArray) -> tuple[NoticeCount, ...]:
    notices = Notices()
    for item in ids.to_pylist():
        notices.add(Notice(kind, ROWS_THAT_STAY, item))
    return notices.counts()


def _flat(values: pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks()
