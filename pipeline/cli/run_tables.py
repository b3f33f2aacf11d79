"""Plans and reports of runs as tables for people; `--json` prints the same values."""

from __future__ import annotations

from collections.abc import Sequence

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.tables import WIDE, Answer, new_table, warn_held, warn_untrained
from commonspace.pipeline.source.notices import NoticeCount

LEDGER = ("offered", "encoded", "reused", "kept", "rejected", "deleted")


def quantised(answer: Answer) -> None:
    """How an int8 model compares with the one it was made from."""
    table = new_table("int8 of", "compared", "cosine", "lowest", "same neighbours", "times as fast")
    same = answer["neighbours"]
    table.add_row(
        answer["encoder"],
        f"{answer['items']:,}",
        f"{answer['cosine_mean']:.4f}",
        f"{answer['cosine_min']:.4f}",
        f"{same:.1%}" if same is not None else "too few",
        f"{answer['times_as_fast']:.1f}",
    )
    tables.console.print(table)


def plans(values: Sequence[Answer]) -> None:
    """What a run would do: a line for each space."""
    table = new_table("space", "encode", "reuse", "keep", "reject", "delete", "estimate")
    for plan in (plan for plan in values if "error" not in plan):
        seconds = plan["estimated_seconds"]
        estimate = f"{seconds:,.0f} s" if seconds is not None else "unknown"
        rejected = plan["reject"] + plan["rejected_by_pull"]
        counts = [plan["encode"], plan["reuse"], plan["keep"], rejected, plan["delete"]]
        table.add_row(_space_name(plan), *(f"{count:,}" for count in counts), estimate)
    tables.console.print(table)
    for plan in values:
        _print_notices(plan)


def reports(values: Sequence[Answer]) -> None:
    """The ledger of a run, a line for each space; then holds and the reasons of rejects."""
    finished = [report for report in values if "error" not in report]
    if tables.console.width < WIDE:
        _print_narrow_reports(finished)
        return
    table = new_table("space", "release", *LEDGER, "seconds", "items/s")
    for report in finished:
        ledger, rate = report["ledger"], report["items_per_second"]
        counts = [f"{ledger[state]:,}" for state in LEDGER]
        seconds = sum(s for s in report["seconds"].values() if s)
        table.add_row(
            _space_name(report), f"{report['release']} {report['state']}", *counts,
            f"{seconds:.1f}", f"{rate:,.0f}" if rate else "",
        )  # fmt: skip
    if finished:
        tables.console.print(table)
    for report in finished:
        _print_remarks(report)


def _print_narrow_reports(reports: Sequence[Answer]) -> None:
    for report in reports:
        counts = ", ".join(f"{report['ledger'][state]:,} {state}" for state in LEDGER)
        tables.console.print(
            f"{_space_name(report)}: release {report['release']} {report['state']}"
        )
        tables.console.print(f"  {counts}")
        _print_remarks(report)


def _print_remarks(report: Answer) -> None:
    warn_untrained(report)
    warn_held(_space_name(report), report["held"])
    reasons = ", ".join(f"{n} {reason}" for reason, n in report["rejects_by_reason"].items())
    if reasons:
        tables.console.print(f"{_space_name(report)} rejected: {reasons}")


def _print_notices(value: Answer) -> None:
    for notice in map(NoticeCount.from_json, value.get("notices", ())):
        tables.console.print(f"{_space_name(value)} {notice}", markup=False, highlight=False)


def _space_name(value: Answer) -> str:
    return f"{value['collection']}/{value['space']}/v{value['version']}"
