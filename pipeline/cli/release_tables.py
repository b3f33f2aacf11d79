"""The life of releases as tables for people; the same values that `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.tables import Answer, cell, new_table

SHOWN = 20


def releases(value: Answer) -> None:
    """A line a release, the newest last."""
    tables.console.print(value["space"])
    tables.warn_held(value["space"], value["held"])
    table = new_table("release", "state", "rows", "changes", "created", "promoted", "run", "pinned")
    for one in value["releases"]:
        pinned = one["pinned"]
        table.add_row(
            str(one["number"]),
            one["state"],
            f"{one['rows']:,}" if one["rows"] is not None else "",
            _against_parent(one),
            _moment(one["created_at"]),
            _moment(one["promoted_at"]),
            one["run"] or "",
            cell("" if pinned is None else pinned or "yes"),
        )
    tables.console.print(table)


def promotion(value: Answer) -> None:
    """Which release readers see now."""
    before = f"release {value['before']} before" if value["before"] else "nothing before"
    said = before if value["moved"] else "as before"
    tables.console.print(f"{value['space']} serves release {value['release']}, {said}")
    if value["lifted"]:
        tables.console.print("  the hold is lifted")


def pinned(value: Answer) -> None:
    """The pin that stands."""
    reason = f": {cell(value['reason']).plain}" if value["reason"] else ""
    tables.console.print(
        f"{value['space']} release {value['release']} is kept{reason}", markup=False
    )


def unpinned(value: Answer) -> None:
    """The pin that is gone."""
    tables.console.print(f"{value['space']} release {value['release']} is pinned no more")


def retained(values: Sequence[Answer]) -> None:
    """What was removed of each space, or would be."""
    table = new_table("space", "keeps", "removes", "files")
    for one in values:
        if one["left_out"] or "error" in one:
            said = "left out" if one["left_out"] else "failed"
            table.add_row(one["space"], f"everything: {said}", "nothing", "0")
            continue
        kept = ", ".join(f"{number} ({why})" for number, why in one["kept"].items())
        gone = ", ".join(map(str, one["removed"])) or "nothing"
        table.add_row(one["space"], kept or "nothing", gone, f"{len(one['files']):,}")
    tables.console.print(table)
    if any(one["dry_run"] for one in values):
        tables.console.print("nothing was removed yet: this was a dry run")


def retired(value: Answer) -> None:
    """Whether a version of a space is retired."""
    said = cell(value["retired"] or "is alive").plain
    tables.console.print(f"{value['space']}: {said}", markup=False)


def changes(value: Answer) -> None:
    """How many rows differ, and the first ids of each kind."""
    tables.console.print(f"{value['space']}: release {value['since']} to {value['until']}")
    for kind, sign in (("added", "+"), ("changed", "~"), ("removed", "-")):
        ids = value[kind]
        tables.console.print(f"{len(ids):,} {kind}")
        for item in ids[:SHOWN]:
            tables.console.print(f"  {sign} {cell(item).plain}", markup=False, highlight=False)
        if len(ids) > SHOWN:
            tables.console.print(f"  … and {len(ids) - SHOWN:,} more (--json lists all)")


def _against_parent(one: Answer) -> str:
    if one["added"] is None:
        return ""
    return f"+{one['added']:,} ~{one['changed']:,} -{one['removed']:,}"


def _moment(at: str | None) -> str:
    return (at or "")[:16].replace("T", " ")
