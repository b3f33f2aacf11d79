"""What it says of a published row that the source does not offer it: deleted, or not seen.

A row is deleted where the file that it came from was read whole and does not offer it any more. A
file that is gone, empty, cut or unreadable says nothing of its rows, nor does one with a record of
which nobody can read the id, as it may be that of any of them: they stay until it is whole again,
or until their owner lets them go.

Of a source of kind `folder` the listing says which files there are, so that a single file that is
gone is deleted. But a folder without any item left, in it or below it, may be a disk that is not
mounted: its rows stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.source.extents import End
from commonspace.pipeline.source.notices import Notice, NoticeCount, NoticeKind, Notices

ROWS_THAT_STAY = "published rows, which stay; --delete-missing deletes them"
"""What notices of such rows are about."""
_KINDS = {
    End.EMPTY: NoticeKind.FILE_EMPTY,
    End.CUT: NoticeKind.FILE_CUT,
    End.UNREADABLE: NoticeKind.FILE_UNREADABLE,
    End.GAPS: NoticeKind.RECORD_UNREADABLE,
}


def judge_ends(
    ends: Mapping[str, End],
    *,
    lacking: Collection[str] = (),
    unterminated: Collection[str] = (),
    unreadable: Collection[str] = (),
) -> dict[str, End]:
    """How each file ended: those without a final line end told apart, and those with gaps.

    A file without a final line end is cut where it lacks something that is published, unless it is
    known to be written so: a cut between two records looks like such a file.

    Args:
        ends: as the scan found them.
        lacking: files that lack a published row, or whose last record differs from its row.
        unterminated: files that had no final line end when their rows were published.
        unreadable: files with a record of which the id cannot be read.
    """
    cut = {name for name in lacking if ends.get(name) is End.OPEN} - set(unterminated)
    judged = {name: End.WHOLE if end is End.OPEN else end for name, end in ends.items()}
    gaps = {name for name in unreadable if judged.get(name) is End.WHOLE}
    return {**judged, **dict.fromkeys(gaps, End.GAPS), **dict.fromkeys(cut, End.CUT)}


def unterminated_files(
    before: Collection[str],
    ends: Mapping[str, End],
    judged: Mapping[str, End],
    *,
    learns: bool,
) -> tuple[str, ...]:
    """The files that are known to be written without a final line end, after a run.

    Args:
        before: those that the release before knows.
        ends: how the files of the run's scope ended, as the scan found them.
        judged: the same, as `judge_ends` gives them.
        learns: whether the run has compared all that the files held before: a list of ids does
            not show that a file lacks something.
    """
    terminated = {name for name, end in ends.items() if end is End.WHOLE}
    are_open = {name for name, end in ends.items() if end is End.OPEN and learns}
    are_open -= {name for name, end in judged.items() if end is End.CUT}
    return tuple(sorted((set(before) - terminated) | are_open))


def stays_unoffered(files: pa.ChunkedArray, ends: Mapping[str, End]) -> pa.ChunkedArray:
    """Which published rows stay that are not offered.

    Args:
        files: the file of each row; of a source of kind `folder`, its folder.
        ends: how each file of the run's scope ended, as `judge_ends` gives it.
    """
    uncertain = [name for name in pc.unique(files).to_pylist() if ends.get(name) is not End.WHOLE]
    return pc.is_in(files, value_set=pa.array(uncertain, pa.string()))


def notices_of_staying(
    files: pa.ChunkedArray, ends: Mapping[str, End], gone: NoticeKind
) -> tuple[NoticeCount, ...]:
    """Why rows stay, by kind, with their number and the first few files.

    Args:
        files: the file of each row that stays.
        ends: as `stays_unoffered` takes them.
        gone: the kind for files that the run has not found.
    """
    notices = Notices()
    for name, rows in sorted(_counts(files)):
        kind = _KINDS[ends[name]] if name in ends else gone
        notices.add(Notice(kind, ROWS_THAT_STAY, name), rows)
    return notices.counts()


def _counts(values: pa.ChunkedArray) -> list[tuple[str, int]]:
    """How often each value occurs."""
    return [(row["values"], row["counts"]) for row in pc.value_counts(values).to_pylist()]
