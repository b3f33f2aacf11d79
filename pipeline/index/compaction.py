"""Compaction of a space's LanceDB table, and which of its versions stay."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.index.connection import connect, open_table, translating_table_errors
from commonspace.pipeline.index.table import Table
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import Store

VERSIONS_BETWEEN_COMPACTIONS = 20
"""Measured in versions of the table, of which a promotion makes several."""
READER_GRACE = timedelta(days=7)
"""For so long, a reader may go on with a version that was served."""
KEEP_EVERY_VERSION = timedelta(days=36_500)
STALL = timedelta(hours=2)
"""LanceDB takes an age and reads the clock itself: for so long this process may be held up in
between without losing the version from which the age was computed. It also covers the hour that
occurs twice when summer time ends."""


def compact_when_due(store: Store, name: SpaceName, before: int, version: int) -> None:
    """Compact the table if enough versions were made since the last time.

    What was served within READER_GRACE stays readable, and so does `version`, however old it is.

    Args:
        store: the warehouse.
        name: the space.
        before: the version that CURRENT named before a promotion, 0 for none.
        version: the version that it names now.

    Raises:
        ContractBroken: the table is damaged.
        StoreFailed: the bucket failed or the disk is full.
    """
    with translating_table_errors(str(name)):
        table = open_table(connect(store.address), name.table)
        due = version // VERSIONS_BETWEEN_COMPACTIONS != before // VERSIONS_BETWEEN_COMPACTIONS
        if table is not None and due:
            pointer = load_current(store, name)
            since = datetime.now(UTC) - READER_GRACE
            served = versions_served_since(pointer, since) if pointer else ()
            kept = {before or version, version, *served}
            age = age_of_oldest(table, kept) if served else KEEP_EVERY_VERSION
            table.optimize(cleanup_older_than=max(READER_GRACE, age))


def prune_versions(store: Store, name: SpaceName, kept: Collection[int]) -> None:
    """Remove the versions of the table that are older than every one of those that are kept.

    Raises:
        ContractBroken: the table is damaged.
        StoreFailed: the bucket failed or the disk is full.
    """
    with translating_table_errors(str(name)):
        table = open_table(connect(store.address), name.table)
        if table is None:
            return
        if any(version["version"] < min(kept) for version in table.list_versions()):
            table.optimize(cleanup_older_than=age_of_oldest(table, kept))


def versions_served_since(pointer: Current, moment: datetime) -> list[int]:
    """The versions of the table served at the moment and after it; none where that is not known.

    The history holds a release once and retention shortens it: what was served at the moment
    is at least as new as the latest entry before it.
    """
    history = [(entry.promoted_at, entry.table_version) for entry in pointer.served]
    history.append((pointer.promoted_at, pointer.table_version))
    before = [
        position
        for position, (promoted_at, _) in enumerate(history)
        if datetime.fromisoformat(promoted_at) <= moment
    ]
    return [version for _, version in history[max(before) :]] if before else []


def age_of_oldest(table: Table, kept: Collection[int]) -> timedelta:
    """How long ago the oldest of the versions was made, and STALL more."""
    times: list[datetime] = [
        version["timestamp"] for version in table.list_versions() if version["version"] in kept
    ]
    if not times:  # the table was removed and made again: nothing is known of its past
        return KEEP_EVERY_VERSION
    oldest = min(time.astimezone(UTC) for time in times)  # LanceDB gives local time
    return max(datetime.now(UTC) - oldest, timedelta(0)) + STALL
