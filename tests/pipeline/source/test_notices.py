from __future__ import annotations

from commonspace.pipeline.source.notices import (
    SHOWN_EXAMPLES,
    Notice,
    NoticeCount,
    NoticeKind,
    Notices,
)
from commonspace.pipeline.workspace.notes import PlanSummary, RunNote

SUFFIX = NoticeCount(NoticeKind.LEFT_OUT, "suffix .db", 4, ("a.db", "b.db", "c.db"))


def test_counted_by_group_with_the_first_examples() -> None:
    notices = Notices()
    for name in "abcd":
        notices.add(Notice(NoticeKind.LEFT_OUT, "suffix .db", f"{name}.db"))
    notices.add(Notice(NoticeKind.LEFT_OUT, "hidden"), count=7)
    assert notices.counts() == (SUFFIX, NoticeCount(NoticeKind.LEFT_OUT, "hidden", 7))
    assert len(SUFFIX.examples) == SHOWN_EXAMPLES


def test_in_words() -> None:
    assert str(SUFFIX) == "left out: 4 (suffix .db), such as 'a.db', 'b.db', 'c.db'"
    assert str(NoticeCount(NoticeKind.LEFT_OUT, "hidden", 7_000)) == "left out: 7,000 (hidden)"


def test_notes_give_them_back() -> None:
    run = RunNote(run="r", records=1, items=1, rejected=0, seconds=0.5, notices=(SUFFIX,))
    assert RunNote.from_json(run.to_json()) == run
    plan = PlanSummary(
        base=0, fingerprint="f", offered=1, absent=0, shards=(), rejected_by_pull=0, encode=1,
        reuse=0, keep=0, reject=0, delete=0, estimated_seconds=None, seconds=0.5,
        notices=(SUFFIX,),
    )  # fmt: skip
    assert PlanSummary.from_json(plan.to_json()) == plan
