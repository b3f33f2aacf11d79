"""A plan, a release and a run's report as Markdown: for a scheduler's pages, and as a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from commonspace.pipeline.run.announcement import Announcement
from commonspace.pipeline.run.notes import RunReport
from commonspace.pipeline.source.notices import NoticeCount
from commonspace.pipeline.workspace.notes import PlanSummary

LEDGER = ("offered", "encoded", "reused", "kept", "rejected", "deleted", "absent")


def plan_text(space: str, plan: PlanSummary, *, force: bool) -> str:
    """What a run would do to a space, and what that would cost.

    Args:
        space: its name.
        plan: the plan in numbers.
        force: whether the run encodes again what is published.
    """
    seconds = plan.estimated_seconds
    estimate = "not known before the first run" if seconds is None else _duration(seconds)
    actions = {
        "encode": plan.encode,
        "reuse": plan.reuse,
        "keep": plan.keep,
        "reject": plan.rejected,
        "delete": plan.delete,
    }
    return "\n".join(
        [
            f"**{space}**, from release {plan.base or 'none'}",
            "",
            *_table(list(actions), [[f"{count:,}" for count in actions.values()]]),
            "",
            f"Encoding: {estimate}, in {len(plan.shards):,} shards.",
            *(["", *_notices_list(plan.notices)] if plan.notices else []),
            *(["", "What is published is encoded again (`force`)."] if force else []),
        ]
    )


def release_text(announcement: Announcement, hold: str | None) -> str:
    """A release that waits for a person to approve it.

    Args:
        announcement: the release.
        hold: since when the space is held at what it serves, and why; None where it is not.
    """
    warning = f"**The space is {hold}.** Approving the release lifts the hold."
    return "\n".join(
        [
            f"Release {announcement.release} of **{announcement.space}**: "
            f"{announcement.rows:,} rows.",
            *(["", warning] if hold else []),
            "",
            *_ledger_table(announcement.ledger),
            "",
            f"Encoder: `{announcement.encoder}` · manifest: `{announcement.manifest}`",
        ]
    )


def report_text(report: RunReport) -> str:
    """What a run did to a space: its ledger, gates, rejects and times."""
    space = f"{report.collection}/{report.space}/v{report.version}"
    seconds = [(stage, value) for stage, value in report.seconds.items() if value is not None]
    pace = report.items_per_second
    return "\n".join(
        [
            f"# {space}: release {report.release}, {report.state}",
            "",
            f"{report.rows:,} rows · run `{report.run}` · encoder `{report.encoder}`",
            "",
            *_ledger_table(report.ledger),
            "",
            *_gates_table(report),
            "",
            *_rejects_table(space, report),
            "",
            *_notices_list(map(NoticeCount.from_json, report.notices)),
            *_table(("stage", "seconds"), [[stage, f"{value:,.1f}"] for stage, value in seconds]),
            "",
            f"{pace:,.0f} items a second on {report.device}." if pace else "Nothing was encoded.",
            "",
        ]
    )


def _gates_table(report: RunReport) -> list[str]:
    rows = [
        [
            gate["name"],
            "passed" if gate["ok"] else "**refused**",
            "" if gate["value"] is None else f"{gate['value']:.4g}",
            f"{gate['limit']:.4g}",
            _cell(gate["message"]),
        ]
        for gate in report.gates
    ]
    return _table(("gate", "", "value", "limit", "remark"), rows)


def _rejects_table(space: str, report: RunReport) -> list[str]:
    if not report.rejects_by_reason:
        return ["No rejects."]
    rows = [[reason, f"{count:,}"] for reason, count in report.rejects_by_reason.items()]
    where = f"Each with its reason: `commonspace rejects {space}`, or `{report.rejects}`."
    return [*_table(("rejects", "items"), rows), "", where]


def _notices_list(notices: Iterable[NoticeCount]) -> list[str]:
    lines = [f"- {_cell(str(notice))}" for notice in notices]
    return [*lines, ""] if lines else []


def _ledger_table(ledger: Mapping[str, int]) -> list[str]:
    return _table(LEDGER, [[f"{ledger[state]:,}" for state in LEDGER]])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns are aligned as plain text, too; only the last one is not padded."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    widths[-1] = 0
    lines = [head, ["-" * max(3, width) for width in widths], *rows]
    return [
        "| "
        + " | ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        + " |"
        for cells in lines
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"about {seconds:,.0f} s"
    return f"about {seconds / 60:,.0f} min" if seconds < 7_200 else f"about {seconds / 3600:,.1f} h"
