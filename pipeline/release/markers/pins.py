"""Pins: releases that `retain` never removes, each with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from commonspace.pipeline.contract.layout import pin_key, pins_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken, UserMistake
from commonspace.pipeline.release.manifest import load_release, number_ranges
from commonspace.pipeline.release.markers.marker import load_marker, marker_bytes, reword_marker
from commonspace.pipeline.release.markers.removal import require_not_in_removal
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class Pin:
    """Why a release is kept, and since when."""

    release: int
    reason: str
    pinned_at: str


def pin_release(store: Store, name: SpaceName, number: int, reason: str = "") -> Pin:
    """Keep a release from being removed.

    Returns:
        the pin; where the release is pinned already, the older one, with the new reason if there
        is one.

    Raises:
        NotPublished: there is no such release.
        Conflict: it is being removed.
    """
    release = load_release(store, name, number)
    new = Pin(number, reason, datetime.now(UTC).isoformat(timespec="seconds"))
    key = pin_key(name, number)
    if not store.put_if_absent(key, marker_bytes(new)):
        old = load_pins(store, name).get(number, new)
        return reword_marker(store, key, old, replace(old, reason=reason)) if reason else old
    try:
        require_not_in_removal(store, name, release)
    except (Conflict, UserMistake):
        store.delete(key)
        raise
    return new


def unpin_release(store: Store, name: SpaceName, number: int) -> None:
    """Let `retain` remove the release again.

    Raises:
        UserMistake: it is not pinned.
    """
    pins = load_pins(store, name)
    if number not in pins:
        raise UserMistake(
            f"release {number} is not pinned (pinned: {number_ranges(pins)})", item=str(name)
        )
    store.delete(pin_key(name, number))


def load_pins(store: Store, name: SpaceName) -> Mapping[int, Pin]:
    """Every pin of the space, by release.

    Raises:
        ContractBroken: one is damaged.
    """
    pins = {}
    for key in store.list(pins_folder(name)):
        pin = load_marker(store, key, Pin) if re.search(r"/[0-9]{6,}\.json$", key) else None
        if pin is not None and key != pin_key(name, pin.release):
            raise ContractBroken(
                f"is damaged: it is the pin of release {pin.release}",
                item=key,
                do="Delete this file, then pin the release that was meant.",
            )
        if pin is not None:
            pins[pin.release] = pin
    return pins
