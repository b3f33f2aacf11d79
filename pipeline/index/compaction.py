"""Upkeep of a space's LanceDB table: compaction, and which of its versions stay."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.index.connection import connect, open_table, translating_table_errors
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import open_store

VERSIONS_BETWEEN_UPKEEP = 20
READER_GRACE = timedelta(days=7)
KEEP_EVERY_VERSION = timedelta(days=36_500)
STALL = timedelta(hours=2)
"""LanceDB takes an age and reads the clock itself: for so long may this process be held up in
between without losing the version that the age was reckoned from. It also covers the hour that
is there twice when summer time ends."""


def compact_when_due(address: str, name: SpaceName, before: int, version: int) -> None:
    """Now and then, compact the table; what was served in the last seven days stays readable.

    before, version: the ones that `CURRENT` named and names, 0 for none; the latter stays however
    old it is. A promotion may make several: it is due where a multiple has been passed.
    """
    with translating_table_errors(str(name)):
        table = open_table(connect(address), name.table)
        due = version // VERSIONS_BETWEEN_UPKEEP != before // VERSIONS_BETWEEN_UPKEEP
        if table is not None and due:
            pointer = load_current(open_store(address), name)
            lately = (
                versions_served_since(pointer, datetime.now(UTC) - READER_GRACE) if pointer else ()
            )
            age = (
                _age(table, {before or version, version, *lately}) if lately else KEEP_EVERY_VERSION
            )
            table.optimize(cleanup_older_than=max(READER_GRACE, age))


def prune_versions(address: str, name: SpaceName, reach: Collection[int]) -> None:
    """Drop the table's versions that are older than every one in reach."""
    with translating_table_errors(str(name)):
        table = open_table(connect(address), name.table)
        if table is not None and any(v["version"] < min(reach) for v in table.list_versions()):
            table.optimize(cleanup_older_than=_age(table, reach))


def versions_served_since(pointer: Current, moment: datetime) -> list[int]:
    """The table versions served at the moment and after it; none where that is not known.

    The history holds a release once and retention shortens it: what was served at the moment
    is at least as new as the latest entry before it.
    """
    turns = [(one.promoted_at, one.table_version) for one in pointer.served]
    turns.append((pointer.promoted_at, pointer.table_version))
    before = [n for n, (at, _) in enumerate(turns) if datetime.fromisoformat(at) <= moment]
    return [version for _, version in turns[max(before) :]] if before else []


def _age(table: Any, reach: Collection[int]) -> timedelta:
    """How long ago the oldest of the versions was made, and a little more."""
    made: list[datetime] = [
        one["timestamp"] for one in table.list_versions() if one["version"] in reach
    ]
    if not made:  # the table was written anew: nothing is known of its past
        return KEEP_EVERY_VERSION
    oldest = min(moment.astimezone(UTC) for moment in made)  # LanceDB tells local time
    return max(datetime.now(UTC) - oldest, timedelta(0)) + STALL
