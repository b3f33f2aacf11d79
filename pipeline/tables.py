"""Answers as tables for people; the same values that `--json` prints."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from encoders.protocol import FACTS

console = Console(width=None if sys.stdout.isatty() else 160)

Answer = Mapping[str, Any]
HIDDEN = {"vector", "content_digest", "row_digest", "encoded_at", "run", "source_uri", "partition"}
LEDGER = ("offered", "encoded", "reused", "kept", "rejected", "deleted")
CELL = 100


def plans(values: Sequence[Answer]) -> None:
    """What a run would do, a line a space."""
    table = _table("space", "encode", "reuse", "keep", "reject", "delete", "estimate")
    for plan in values:
        seconds = plan["estimated_seconds"]
        estimate = f"{seconds:,.0f} s" if seconds is not None else "unknown before a first run"
        counts = [plan[a] for a in ("encode", "reuse", "keep", "reject", "delete")]
        table.add_row(_name(plan), *(f"{count:,}" for count in counts), estimate)
    console.print(table)


def reports(values: Sequence[Answer]) -> None:
    """The ledger of a run, a line a space; then what was rejected and how long it took."""
    table = _table("space", "release", *LEDGER, "seconds", "items/s")
    done = [report for report in values if "error" not in report]
    for report in done:
        ledger, rate = report["ledger"], report["items_per_second"]
        counts = [f"{ledger[state]:,}" for state in LEDGER]
        seconds = sum(s for s in report["seconds"].values() if s)
        table.add_row(
            _name(report), f"{report['release']} {report['state']}", *counts,
            f"{seconds:.1f}", f"{rate:,.0f}" if rate else "",
        )  # fmt: skip
    if done:
        console.print(table)
    for report in done:
        _warn_untrained(report)
        reasons = ", ".join(f"{n} {reason}" for reason, n in report["rejects_by_reason"].items())
        if reasons:
            console.print(f"{_name(report)} rejected: {reasons}")


def catalogue(values: Sequence[Answer]) -> None:
    """What exists: a line a space version."""
    table = _table("space", "owner", "rows", "dim", "encoder", "release", "promoted", "rejects",
                   "fingerprint")  # fmt: skip
    for space in values:
        table.add_row(
            space["space"],
            _cell(space["owner"]),
            f"{space['rows']:,}" if space["rows"] is not None else "not published",
            str(space["dim"] or ""),
            _encoder(space),
            str(space["release"] or ""),
            str(space["promoted_at"] or "")[:16].replace("T", " "),
            str(space["rejects"] or 0),
            (space["fingerprint"] or "")[:12],
        )
    console.print(table)
    if not values:
        console.print("Nothing here yet. `commonspace demo` makes two collections to look at.")


def hits(value: Answer) -> None:
    """Search results, nearest first."""
    _heading(value)
    truths = {name for facts in FACTS.values() for name in facts}
    shown = [{n: v for n, v in hit.items() if n not in truths} for hit in value["hits"]]
    _rows(shown, first=["similarity", "id"])


def rows(value: Answer) -> None:
    """Rows by id; the vector as its first numbers."""
    _heading(value)
    shown = [
        {**row, "vector ": [round(x, 4) for x in row["vector"][:4]] if row["vector"] else None}
        for row in value["rows"]
    ]
    _rows(shown, first=["id", "found", "vector "])


def files(value: Answer) -> None:
    """One path a line, and nothing else: made for pipes."""
    for path in value["files"]:
        console.out(path, highlight=False)


def rejects(value: Answer) -> None:
    """What could not be embedded, and why."""
    _heading(value)
    table = _table("id", "reason", "message", "retrying helps", "source")
    for row in value["rejects"]:
        cells = [row["id"], row["reason"], row["message"]]
        cells += ["yes" if row["retryable"] else "no", row["source_uri"]]
        table.add_row(*(_cell(cell) for cell in cells))
    console.print(table)


def verification(value: Answer) -> None:
    """What was checked, and what is wrong."""
    console.print(
        f"{value['space']} release {value['release']}: {value['rows']:,} rows in "
        f"{value['parts']} parts, LanceDB version {value['table_version']}"
    )
    for problem in value["problems"]:
        console.print(Text(f"  WRONG  {problem}", style="bold red"))
    if value["repaired"]:
        console.print("  the LanceDB table was rebuilt from Parquet")
    if value["ok"]:
        console.print("  whole: manifest, checksums, contract, vectors, and LanceDB agree")


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _rows(values: Sequence[Answer], first: list[str]) -> None:
    if not values:
        console.print("no rows")
        return
    names = first + [n for n in values[0] if n not in first and n not in HIDDEN]
    names = [n for n in names if n in values[0]]
    table = _table(*names)
    for value in values:
        table.add_row(*(_cell(value[name]) for name in names))
    console.print(table)


def _cell(value: Any) -> Text:
    """A value as plain text: what stands in the data is never taken as markup."""
    text = f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
    text = " ".join(text.split())
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    printable = printable.encode("utf-8", "replace").decode()
    return Text(printable if len(printable) <= CELL else f"{printable[: CELL - 1]}…")


def _name(value: Answer) -> str:
    return f"{value['collection']}/{value['space']}/v{value['version']}"


def _heading(value: Answer) -> None:
    console.print(f"{value['space']}, release {value['release']}, {value['encoder']}")
    _warn_untrained(value)


def _warn_untrained(value: Answer) -> None:
    if not value["trained"]:
        console.print(
            Text("UNTRAINED encoder: near means alike on the surface, nothing more.",
                 style="bold yellow")
        )  # fmt: skip


def _encoder(space: Answer) -> Text:
    return Text(space["encoder"], style="" if space["trained"] else "bold yellow")
