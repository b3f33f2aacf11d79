"""A plan, a release and a run's report as Markdown: for a scheduler's pages, and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LEDGER = ("offered", "encoded", "reused", "kept", "rejected", "deleted", "absent")


def plan_text(space: str, planned: Mapping[str, Any]) -> str:
    """What a run would do to a space, and what that would cost."""
    seconds = planned["estimated_seconds"]
    about = "not known before the first run" if seconds is None else _time(seconds)
    rejected = planned["reject"] + planned["rejected_by_pull"]
    counts = {**planned, "reject": rejected}
    kinds = ("encode", "reuse", "keep", "reject", "delete")
    return "\n".join(
        [
            f"**{space}**, from release {planned['base'] or 'none'}",
            "",
            *_table(kinds, [[f"{counts[kind]:,}" for kind in kinds]]),
            "",
            f"Encoding: {about}, in {planned['shards']:,} shards.",
            *(["", "What is published is encoded again (`force`)."] if planned["force"] else []),
        ]
    )


def release_text(told: Mapping[str, Any]) -> str:
    """A release that waits for a person, in the words of its announcement."""
    return "\n".join(
        [
            f"Release {told['release']} of **{told['space']}**: {told['rows']:,} rows.",
            *(
                ["", f"**The space is {told['held']}.** To approve lifts it."]
                if told["held"]
                else []
            ),
            "",
            *_ledger(told["ledger"]),
            "",
            f"Encoder: `{told['encoder']}` · manifest: `{told['manifest']}`",
        ]
    )


def report_text(report: Mapping[str, Any]) -> str:
    """What a run did to a space: its ledger, gates, rejects and times."""
    space = f"{report['collection']}/{report['space']}/v{report['version']}"
    gates = [
        [
            gate["name"],
            "held" if gate["ok"] else "**refused**",
            "" if gate["value"] is None else f"{gate['value']:.4g}",
            f"{gate['limit']:.4g}",
            _cell(gate["message"]),
        ]
        for gate in report["gates"]
    ]
    rate = report["items_per_second"]
    return "\n".join(
        [
            f"# {space}: release {report['release']}, {report['state']}",
            "",
            f"{report['rows']:,} rows · run `{report['run']}` · encoder `{report['encoder']}`",
            "",
            *_ledger(report["ledger"]),
            "",
            *_table(("gate", "", "value", "limit", "remark"), gates),
            "",
            *_rejects(space, report),
            "",
            *_table(
                ("stage", "seconds"),
                [[stage, f"{s:,.1f}"] for stage, s in report["seconds"].items() if s is not None],
            ),
            "",
            f"{rate:,.0f} items a second on {report['device']}."
            if rate
            else "Nothing was encoded.",
            "",
        ]
    )


def _rejects(space: str, report: Mapping[str, Any]) -> list[str]:
    reasons = report["rejects_by_reason"]
    if not reasons:
        return ["No rejects."]
    lines = [[reason, f"{count:,}"] for reason, count in reasons.items()]
    where = f"Each with its reason: `commonspace rejects {space}`, or `{report['rejects']}`."
    return [*_table(("rejects", "items"), lines), "", where]


def _ledger(ledger: Mapping[str, int]) -> list[str]:
    return _table(LEDGER, [[f"{ledger[state]:,}" for state in LEDGER]])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns stand below each other in a log too; only the last one is as wide as it happens."""
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


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"about {seconds:,.0f} s"
    return f"about {seconds / 60:,.0f} min" if seconds < 7_200 else f"about {seconds / 3600:,.1f} h"
