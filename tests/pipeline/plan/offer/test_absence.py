"""Which rows that are not offered stay, as a pure function of how files ended."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.plan.offer.absence import judge_ends, notices_of_staying, stays_unoffered
from commonspace.pipeline.plan.offer.last_records import changed_items, doubtful_items
from commonspace.pipeline.plan.offer.transient import transient_failures
from commonspace.pipeline.pull.extents import Extents, LastRecord
from commonspace.pipeline.source.extents import End
from commonspace.pipeline.source.notices import NoticeKind

FILES = ["a", "b", "c", "d"]
ends = st.dictionaries(st.sampled_from(FILES), st.sampled_from(End))
names = st.sets(st.sampled_from(FILES))


@given(ends=ends, lacking=names, unterminated=names, unreadable=names)
def test_only_open_files_and_gaps_are_judged(
    ends: dict[str, End], lacking: set[str], unterminated: set[str], unreadable: set[str]
) -> None:
    judged = judge_ends(ends, lacking=lacking, unterminated=unterminated, unreadable=unreadable)
    assert judged.keys() == ends.keys()
    for name, end in ends.items():
        is_cut = end is End.OPEN and name in lacking and name not in unterminated
        whole = End.GAPS if name in unreadable else End.WHOLE
        expected = {End.OPEN: End.CUT if is_cut else whole, End.WHOLE: whole}
        assert judged[name] is expected.get(end, end)


@given(
    files=st.lists(st.sampled_from(FILES), max_size=12),
    ends=ends.map(lambda e: judge_ends(e)),
    gone=st.sampled_from([NoticeKind.FOLDER_GONE, NoticeKind.FILE_GONE]),
)
def test_a_row_goes_only_with_a_whole_file_and_each_other_row_is_told(
    files: list[str], ends: dict[str, End], gone: NoticeKind
) -> None:
    rows = pa.chunked_array([pa.array(files, pa.string())])
    stays = stays_unoffered(rows, ends)
    assert stays.to_pylist() == [ends.get(name) is not End.WHOLE for name in files]
    notices = notices_of_staying(rows.filter(stays), ends, gone)
    assert sum(notice.count for notice in notices) == sum(stays.to_pylist())
    told = {example: str(n.kind) for n in notices for example in n.examples}
    kinds = {
        None: str(gone), End.EMPTY: "file_empty", End.CUT: "file_cut",
        End.GAPS: "record_unreadable",
        End.UNREADABLE: "file_unreadable",
    }  # fmt: skip
    assert told.items() <= {(name, kinds.get(ends.get(name), "")) for name in files}


def rows(*values: tuple[str, str, str], digest: str = "digest") -> pa.Table:
    """Rows of `id`, digest and file; their row digest is that of all three."""
    ids, digests, files = zip(*values, strict=True) if values else ((), (), ())
    columns = {"id": ids, digest: digests, "source_uri": files, "row_digest": map(str, values)}
    return pa.table({name: pa.array(list(c), pa.string()) for name, c in columns.items()})


@pytest.mark.parametrize(
    ("offered", "published", "changed", "files"),
    [
        (("i", "1", "a"), ("i", "1", "a"), {}, set()),
        (("i", "2", "a"), ("i", "1", "a"), {"i": "a"}, {"a"}),
        (("i", "1", "a"), ("i", "1", "b"), {"i": "a"}, set()),  # it has moved
        (("i", "1", "a"), None, {"i": "a"}, set()),  # it is new
        (("i", "2", "b"), ("i", "1", "b"), {}, set()),  # another file's record was taken
    ],
)
def test_a_last_record_is_compared_with_what_its_file_has_published(
    offered: tuple[str, str, str], published: tuple[str, str, str] | None,
    changed: dict[str, str], files: set[str],
) -> None:  # fmt: skip
    extents = Extents({"a": End.OPEN, "b": End.OPEN}, {"a": LastRecord("i", None)})
    before = rows(*([published] if published else []), digest="content_digest")
    doubtful = doubtful_items(extents, [])
    assert changed_items(doubtful, rows(offered, ("j", "1", "a")), before, "id") == (changed, files)
    assert doubtful_items(extents, ["a"]) == set()


@pytest.mark.parametrize("reason", [Reason.TRUNCATED_IMAGE, Reason.IMAGE_TOO_SMALL])
def test_of_a_published_item_a_cut_content_is_worth_another_try(reason: Reason) -> None:
    failures = dict.fromkeys(["published", "new"], Failure(reason, "why"))
    transient = transient_failures(
        failures, {Reason.TRUNCATED_IMAGE}, pa.chunked_array([["published", "other"]])
    )
    assert not transient["new"].retryable
    assert transient["published"].retryable == (reason is Reason.TRUNCATED_IMAGE)
