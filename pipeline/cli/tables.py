"""Spaces, rows, rejects and checks as tables for people; `--json` prints the same values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(width=None if sys.stdout.isatty() else 160)

Answer = Mapping[str, Any]
HIDDEN = {"vector", "content_digest", "row_digest", "encoded_at", "run", "source_uri", "partition"}
"""Columns that tables of rows leave out."""

WIDE = 120
"""Characters of a terminal's line from which on all columns are shown."""

LONGEST_CELL = 100
"""Characters of a cell; longer values are cut."""


def catalog(values: Sequence[Answer]) -> None:
    """What exists: a line for each version of a space."""
    cells: Mapping[str, Callable[[Answer], str | Text]] = {
        "space": _name_and_state,
        "rows": _row_count,
        "release": lambda s: str(s["release"] or ""),
        "rejects": lambda s: str(s["rejects"] or 0),
        "promoted": lambda s: str(s["promoted_at"] or "")[:16].replace("T", " "),
        "owner": lambda s: cell(s["owner"]),
        "dim": lambda s: str(s["dim"] or ""),
        "embeds": _embedded_columns,
        "encoder": _encoder,
        "fingerprint": lambda s: (s["fingerprint"] or "")[:12],
    }
    names = list(cells) if console.width >= WIDE else list(cells)[:5]
    if values:
        table = new_table(*names)
        for space in values:
            table.add_row(*(cells[name](space) for name in names))
        console.print(table)


def hits(value: Answer) -> None:
    """Search results, nearest first."""
    from commonspace.encoders.protocol import FACTS  # needs numpy

    _print_heading(value)
    hidden = {name for facts in FACTS.values() for name in facts}
    shown = [{n: v for n, v in hit.items() if n not in hidden} for hit in value["hits"]]
    files = {hit.get("source_uri") for hit in shown}
    if len(files) == len(shown):  # of a folder: each stands for a file of its own
        shown = [{**hit, "file": hit.get("source_uri")} for hit in shown]
    _print_rows(shown, first=["similarity", "bm25", "id"])


def rows(value: Answer) -> None:
    """Rows by id, each column on a line of its own; of the vector, the first numbers."""
    _print_heading(value)
    for row in value["rows"]:
        console.print(Text(cell(row["id"]).plain, style="bold"))
        if not row["found"]:
            console.print("  not in this release")
            continue
        shown = {**row, "vector": _vector_start(row["vector"])}
        for name in (n for n in shown if n not in {"id", "found"}):
            console.print(Text(f"  {name:<16} {cell(shown[name]).plain}"))


def files(value: Answer) -> None:
    """One path per line and nothing else, for pipes."""
    for path in value["files"]:
        console.out(path, highlight=False)


def rejects(value: Answer) -> None:
    """What could not be embedded, and why."""
    _print_heading(value)
    table = new_table("id", "reason", "message", "retrying helps", "source", "place")
    for row in value["rejects"]:
        cells = [row["id"], row["reason"], row["message"]]
        cells += ["yes" if row["retryable"] else "no", row["source_uri"], row["place"]]
        table.add_row(*(cell(value) for value in cells))
    console.print(table)


def verification(value: Answer) -> None:
    """What was checked, and what is wrong."""
    console.print(
        f"{value['space']} release {value['release']}: {value['rows']:,} rows in "
        f"{value['parts']} parts, LanceDB version {value['table_version']}"
    )
    console.print(_canary_line(value["canary"]))
    for line in _index_lines(value["indices"]):
        console.print(line)
    if value["orphans"]:
        console.print(f"  {value['orphans']:,} files belong to no release; `retain` removes them")
    for problem in value["problems"]:
        console.print(Text(f"  WRONG  {problem}", style="bold red"))
    for key in value["restored"]:
        console.print(f"  restored from LanceDB: {key}")
    if value["rebuilt"]:
        console.print("  the LanceDB table was rebuilt from Parquet")
    if value["ok"]:
        console.print("  whole: manifest, checksums, contract, vectors and LanceDB agree")


def _index_lines(value: Answer | None) -> list[str]:
    if value is None:
        return []
    words = f"  full-text index: {', '.join(value['text'])}" if value["text"] else None
    index = value["vector"]
    vector = (
        f"  vector index: finds {index['recall']:.1%} of the nearest rows, probing "
        f"{index['nprobes']} of {index['partitions']} partitions"
        if index
        else None
    )
    return [line for line in (vector, words) if line]


def _canary_line(value: Answer | None) -> str:
    if value is None:
        return "  no canary: whether the encoder still makes the same vectors is not known"
    if value["largest_angle"] is None:
        return f"  canary of run {value['run']} is stored; --canary compares the encoder with it"
    angle, limit = value["largest_angle"], value["tolerance"]
    return f"  canary: largest angle {angle:.3g} rad (tolerance {limit:g}) on {value['device']}"


def _vector_start(values: Sequence[float] | None) -> str | None:
    """A vector's first numbers and how many it has."""
    if values is None:
        return None
    return f"{', '.join(f'{x:.4f}' for x in values[:3])}, … ({len(values)})"


def new_table(*columns: str) -> Table:
    """A table with these columns; the first one is never wrapped."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    return table


def _print_rows(values: Sequence[Answer], first: list[str]) -> None:
    if not values:
        console.print("no rows")
        return
    names = first + [n for n in values[0] if n not in first and n not in HIDDEN]
    names = [n for n in names if n in values[0]]
    table = new_table(*names)
    for value in values:
        table.add_row(*(cell(value[name]) for name in names))
    console.print(table)


def cell(value: Any) -> Text:
    """A value as plain text: markup in the data has no effect."""
    text = f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
    text = " ".join(text.split())
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    printable = printable.encode("utf-8", "replace").decode()
    return Text(
        printable if len(printable) <= LONGEST_CELL else f"{printable[: LONGEST_CELL - 1]}…"
    )


def _print_heading(value: Answer) -> None:
    console.print(f"{value['space']}, release {value['release']}, {value['encoder']}")
    warn_untrained(value)


def warn_untrained(value: Answer) -> None:
    """A warning wherever something of an untrained encoder is shown."""
    if not value["trained"]:
        console.print(
            Text("UNTRAINED encoder: what is near looks alike, and has nothing else in common.",
                 style="bold yellow")
        )  # fmt: skip


def warn_held(space: str, held: Answer | None) -> None:
    """A warning wherever it is shown what a held space serves, or what a run did to it."""
    if held:
        from commonspace.pipeline.release.pointer import RollbackHold  # needs Arrow

        hold = cell(RollbackHold(held["since"], held["reason"])).plain
        message = f"{space} is HELD at release {held['release']} ({hold}): runs do not promote"
        console.print(Text(message, style="bold yellow"))


def _row_count(space: Answer) -> str:
    if space["problem"]:
        return "damaged"
    return f"{space['rows']:,}" if space["rows"] is not None else "not published"


def _name_and_state(space: Answer) -> str:
    states = [state for state in ("retired", "held") if space[state]]
    return f"{space['space']} ({', '.join(states)})" if states else str(space["space"])


def _embedded_columns(space: Answer) -> Text:
    recipe = space["recipe"]
    return cell(", ".join(recipe["fields"]) or recipe["image"] if recipe else "")


def _encoder(space: Answer) -> Text:
    return Text(space["encoder"], style="bold yellow" if space["trained"] is False else "")
