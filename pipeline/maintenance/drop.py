"""Removing a retired version of a space: everything except for the mark of its retirement."""

from __future__ import annotations

from commonspace.pipeline.contract.layout import (
    current_key,
    promotion_lock_key,
    retirement_key,
    spec_key,
)
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.index.connection import connect, translating_table_errors
from commonspace.pipeline.release.manifest import number_ranges
from commonspace.pipeline.release.markers.pins import load_pins
from commonspace.pipeline.release.markers.retirement import load_retirement
from commonspace.pipeline.storage.store import Store


def drop_version(store: Store, name: SpaceName) -> list[str]:
    """Remove every file of a version, and its LanceDB table.

    Can be interrupted anywhere and called again: readers lose CURRENT first; without spec.json,
    which goes next, the retirement cannot be taken back.

    Returns:
        the keys that were removed.

    Raises:
        UserMistake: the version is not retired, or one of its releases is pinned.
        ContractBroken: LanceDB fails.
    """
    if load_retirement(store, name) is None:
        raise UserMistake(
            "is not retired", item=str(name), do=f"`commonspace retire {name}` retires it."
        )
    if pinned := load_pins(store, name):
        raise UserMistake(
            f"pinned releases are kept: {number_ranges(pinned)}",
            item=str(name),
            do="`commonspace unpin` takes a pin back.",
        )
    with store.lock(promotion_lock_key(name)):
        keys = [key for key in store.list(str(name)) if key != retirement_key(name)]
        first = [current_key(name), spec_key(name)]
        for key in first:
            store.delete(key)
        with translating_table_errors(str(name)):
            connect(store.address).drop_table(name.table, ignore_missing=True)
        for key in keys:
            if key not in first:
                store.delete(key)
    return keys
