"""What runs do and did as tables for people; the same values that `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.tables import WIDE, Answer, new_table, warn_held, warn_untrained

LEDGER = ("offered", "encoded", "reused", "kept", "rejected", "deleted")


def quantised(answer: Answer) -> None:
    """How near an int8 model comes to the one it was made from."""
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
    """What a run would do, a line a space."""
    table = new_table("space", "encode", "reuse", "keep", "reject", "delete", "estimate")
    for plan in (plan for plan in values if "error" not in plan):
        seconds = plan["estimated_seconds"]
        estimate = f"{seconds:,.0f} s" if seconds is not None else "unknown"
        rejected = plan["reject"] + plan["rejected_by_pull"]
        counts = [plan["encode"], plan["reuse"], plan["keep"], rejected, plan["delete"]]
        table.add_row(_name(plan), *(f"{count:,}" for count in counts), estimate)
    tables.console.print(table)


def reports(values: Sequence[Answer]) -> None:
    """The ledger of a run, a line a space; then what was rejected and how long it took."""
    done = [report for report in values if "error" not in report]
    if tables.console.width < WIDE:
        _narrow_reports(done)
        return
    table = new_table("space", "release", *LEDGER, "seconds", "items/s")
    for report in done:
        ledger, rate = report["ledger"], report["items_per_second"]
        counts = [f"{ledger[state]:,}" for state in LEDGER]
        seconds = sum(s for s in report["seconds"].values() if s)
        table.add_row(
            _name(report), f"{report['release']} {report['state']}", *counts,
            f"{seconds:.1f}", f"{rate:,.0f}" if rate else "",
        )  # fmt: skip
    if done:
        tables.console.print(table)
    for report in done:
        _remarks(report)


def _narrow_reports(done: Sequence[Answer]) -> None:
    for report in done:
        counts = ", ".join(f"{report['ledger'][state]:,} {state}" for state in LEDGER)
        tables.console.print(f"{_name(report)}: release {report['release']} {report['state']}")
        tables.console.print(f"  {counts}")
        _remarks(report)


def _remarks(report: Answer) -> None:
    warn_untrained(report)
    warn_held(_name(report), report["held"])
    reasons = ", ".join(f"{n} {reason}" for reason, n in report["rejects_by_reason"].items())
    if reasons:
        tables.console.print(f"{_name(report)} rejected: {reasons}")


def _name(value: Answer) -> str:
    return f"{value['collection']}/{value['space']}/v{value['version']}"
