"""Pins: releases that are kept whatever `retain` is told, each with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from commonspace.pipeline.contract.layout import pin_key, pins_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, UserMistake
from commonspace.pipeline.release.manifest import load_release, number_ranges
from commonspace.pipeline.release.markers import load_marker, marker_bytes
from commonspace.pipeline.release.removal import require_not_in_removal
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class Pin:
    """Why a release is kept, and since when."""

    release: int
    reason: str
    pinned_at: str


def pin_release(store: Store, name: SpaceName, number: int, reason: str = "") -> Pin:
    """Keep a release; the pin that stands already, where there is one.

    Raises NotPublished where there is no such release, Conflict where it is being removed.
    """
    release = load_release(store, name, number)
    made = Pin(number, reason, datetime.now(UTC).isoformat(timespec="seconds"))
    key = pin_key(name, number)
    if not store.put_if_absent(key, marker_bytes(made)):
        return load_pins(store, name).get(number, made)
    try:
        require_not_in_removal(store, name, release)
    except (Conflict, UserMistake):
        store.delete(key)
        raise
    return made


def unpin_release(store: Store, name: SpaceName, number: int) -> None:
    """Let `retain` remove the release again. Raises UserMistake where it is not pinned."""
    there = load_pins(store, name)
    if number not in there:
        raise UserMistake(
            f"release {number} is not pinned (pinned: {number_ranges(there)})", item=str(name)
        )
    store.delete(pin_key(name, number))


def load_pins(store: Store, name: SpaceName) -> Mapping[int, Pin]:
    """Every pin of the space, by release."""
    found = {}
    for key in store.list(pins_folder(name)):
        one = load_marker(store, key, Pin) if re.search(r"/[0-9]{6,}\.json$", key) else None
        if one is not None:
            found[one.release] = one
    return found
