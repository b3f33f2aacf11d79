"""Releases, pins and changes as tables for people; `--json` prints the same values."""

from __future__ import annotations

from collections.abc import Sequence

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.tables import Answer, cell, new_table

SHOWN_IDS = 20
"""Of each kind of change; `--json` lists all."""


def releases(value: Answer) -> None:
    """A line for each release, the newest last."""
    tables.console.print(value["space"])
    tables.warn_held(value["space"], value["held"])
    table = new_table("release", "state", "rows", "changes", "created", "promoted", "run", "pinned")
    for release in value["releases"]:
        pinned = release["pinned"]
        table.add_row(
            str(release["number"]),
            release["state"],
            f"{release['rows']:,}" if release["rows"] is not None else "",
            _changes_since_parent(release),
            _minute(release["created_at"]),
            _minute(release["promoted_at"]),
            release["run"] or "",
            cell("" if pinned is None else pinned or "yes"),
        )
    tables.console.print(table)


def promotion(value: Answer) -> None:
    """Which release is served now."""
    before = f"release {value['before']} before" if value["before"] else "nothing before"
    earlier = before if value["moved"] else "as before"
    tables.console.print(f"{value['space']} serves release {value['release']}, {earlier}")
    if value["lifted"]:
        tables.console.print("  the hold is lifted")


def pinned(value: Answer) -> None:
    """The pin that keeps a release."""
    reason = f": {cell(value['reason']).plain}" if value["reason"] else ""
    tables.console.print(
        f"{value['space']} release {value['release']} is kept{reason}", markup=False
    )


def unpinned(value: Answer) -> None:
    """Which release is no longer pinned."""
    tables.console.print(f"{value['space']} release {value['release']} is no longer pinned")


def retained(values: Sequence[Answer]) -> None:
    """What was removed from each space, or would be."""
    table = new_table("space", "keeps", "removes", "files")
    for answer in values:
        if answer["left_out"] or "error" in answer:
            why = "left out" if answer["left_out"] else "failed"
            table.add_row(answer["space"], f"everything: {why}", "nothing", "0")
            continue
        kept = ", ".join(f"{number} ({why})" for number, why in answer["kept"].items())
        removed = ", ".join(map(str, answer["removed"])) or "nothing"
        table.add_row(answer["space"], kept or "nothing", removed, f"{len(answer['files']):,}")
    tables.console.print(table)
    if any(answer["dry_run"] for answer in values):
        tables.console.print("nothing was removed: this was a dry run")


def retired(value: Answer) -> None:
    """Whether a version of a space is retired."""
    state = cell(value["retired"] or "is not retired").plain
    tables.console.print(f"{value['space']}: {state}", markup=False)


def changes(value: Answer) -> None:
    """How many rows differ, and the first ids of each kind."""
    tables.console.print(f"{value['space']}: release {value['since']} to {value['until']}")
    for kind, sign in (("added", "+"), ("changed", "~"), ("removed", "-")):
        ids = value[kind]
        tables.console.print(f"{len(ids):,} {kind}")
        for item in ids[:SHOWN_IDS]:
            tables.console.print(f"  {sign} {cell(item).plain}", markup=False, highlight=False)
        if len(ids) > SHOWN_IDS:
            tables.console.print(f"  … and {len(ids) - SHOWN_IDS:,} more (--json lists all)")


def _changes_since_parent(release: Answer) -> str:
    if release["added"] is None:
        return ""
    return f"+{release['added']:,} ~{release['changed']:,} -{release['removed']:,}"


def _minute(timestamp: str | None) -> str:
    return (timestamp or "")[:16].replace("T", " ")
