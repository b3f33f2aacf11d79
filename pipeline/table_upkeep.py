"""Upkeep of a space's LanceDB table: compaction, and which of its versions stay."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from pipeline.contract import SpaceName
from pipeline.lance import connect, open_table, readable

VERSIONS_BETWEEN_UPKEEP = 20
FOR_READERS = timedelta(days=7)
EVER = timedelta(days=36_500)
STALL = timedelta(minutes=1)
"""LanceDB takes an age and reads the clock itself: for so long may this process be held up in
between without losing the version that the age was reckoned from."""


def upkeep(address: str, name: SpaceName, version: int) -> None:
    """Now and then, compact the table; versions of the last seven days stay for their readers.

    version: the one that `CURRENT` names, which stays however old it is.
    """
    with readable(str(name)):
        table = open_table(connect(address), name.table)
        if table is not None and table.version % VERSIONS_BETWEEN_UPKEEP == 0:
            table.optimize(cleanup_older_than=max(FOR_READERS, _age(table, {version})))


def prune(address: str, name: SpaceName, reach: Collection[int]) -> None:
    """Drop the table's versions that are older than every one in reach."""
    with readable(str(name)):
        table = open_table(connect(address), name.table)
        if table is not None and any(v["version"] < min(reach) for v in table.list_versions()):
            table.optimize(cleanup_older_than=_age(table, reach))


def _age(table: Any, reach: Collection[int]) -> timedelta:
    """How long ago the oldest of the versions was made, and a little more."""
    made: list[datetime] = [
        one["timestamp"] for one in table.list_versions() if one["version"] in reach
    ]
    if not made:  # the table was written anew: nothing is known of its past
        return EVER
    return datetime.now() - min(made) + STALL  # LanceDB tells local time
