"""Retention: which releases are kept, and the removal of all that only the others need.

Kept are the current release, the last N by number, the N that a chain of rollbacks would reach,
every pinned one, and what is being promoted. A file goes when no kept manifest names it. One
that no manifest names at all may belong to a run that has not committed yet, or be one that is
being written, and stays until it is a day old. `condemned.py` says why this is safe beside runs,
promotions and pins.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from commonspace.pipeline.contract.layout import (
    current_key,
    parts_folder,
    promotion_lock_key,
    rejects_folder,
    release_key,
    removal_key,
    retention_lock_key,
)
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index.compaction import prune_versions
from commonspace.pipeline.publish.promote import announced
from commonspace.pipeline.release.history import load_manifests, load_readable_manifests
from commonspace.pipeline.release.manifest import Release, release_numbers
from commonspace.pipeline.release.markers import marker_bytes
from commonspace.pipeline.release.pins import load_pins
from commonspace.pipeline.release.pointer import Current, load_current, require_pointer
from commonspace.pipeline.release.removal import (
    PendingRemoval,
    load_pending_removal,
    removable_files,
)
from commonspace.pipeline.storage.store import Store

IN_FLIGHT = 86_400.0
"""Seconds for which a file without a manifest may be a run's that has not committed yet."""


@dataclass(frozen=True)
class Retention:
    """What is kept of a space, and what goes."""

    kept: Mapping[int, str]
    """Why each release is kept."""
    releases: tuple[int, ...]
    files: tuple[str, ...]


def releases_to_keep(
    parents: Mapping[int, int], served: int, pending: int, pinned: Collection[int], last: int
) -> dict[int, str]:
    """The releases to keep, each with the reason.

    parents: of each number, the release it was made from. served, turning: the current release
    and the one that is being promoted, 0 for none. last: at least 1.
    """
    why: dict[int, str] = {}
    for number in sorted(parents)[-last:]:
        why[number] = f"one of the last {last}"
    back = served
    for _ in range(last):
        if back in parents:
            why.setdefault(back, "can be rolled back to")
            back = parents[back]
    for number in pinned:
        if number in parents:
            why.setdefault(number, "pinned")
    why |= {pending: "is being promoted"} if pending in parents else {}
    why |= {served: "current"} if served in parents else {}
    return dict(sorted(why.items()))


def retention(store: Store, name: SpaceName, last: int) -> Retention:
    """What `retain` would do now; changes nothing. Raises ContractBroken as `retain` does."""
    found = _every(store, name)
    kept = _kept(store, name, found, last)
    gone = tuple(number for number in found if number not in kept)
    return Retention(kept, gone, _unneeded(store, name, found, kept))


def retain(store: Store, name: SpaceName, last: int) -> Retention:
    """Remove what is not kept; what was removed. An interrupted one is ended by the next.

    last: how many releases to keep, at least 1. Raises ContractBroken where a manifest is
    damaged: which files it needs is not known.
    """
    with store.lock(retention_lock_key(name)):
        plan = retention(store, name, last)
        if plan.releases or plan.files:
            pending = PendingRemoval(frozenset(plan.releases), frozenset(plan.files))
            store.put(removal_key(name), marker_bytes(pending))
            plan = _spare(store, name, plan, last)
            for number in plan.releases:  # first, so that a reader is told the reason
                store.delete(release_key(name, number))
            for key in plan.files:
                store.delete(key)
        if load_pending_removal(store, name) != PendingRemoval():
            store.delete(removal_key(name))
    with store.lock(promotion_lock_key(name)):
        _forget(store, name)
        _clean_table(store, name, plan.kept)
    return plan


def orphans(store: Store, name: SpaceName) -> list[str]:
    """Files that no manifest names: of interrupted runs, or of one that is under way."""
    named = {key for release in load_manifests(store, name).values() for key in removable_files(release)}
    return sorted(_files(store, name).keys() - named)


def _every(store: Store, name: SpaceName) -> dict[int, Release]:
    found, damaged = load_readable_manifests(store, name)
    for error in damaged.values():
        raise ContractBroken(
            error.what,
            item=error.item,
            do="Which files it needs is unknown, so nothing of the space is removed. Restore the "
            "file from a copy; or delete it, where its release is neither served nor needed. "
            "Then run `retain` again.",
        )
    return found


def _kept(store: Store, name: SpaceName, found: Mapping[int, Release], last: int) -> dict[int, str]:
    turn = announced(store, name)  # before CURRENT: a promotion moves it, then withdraws
    require_pointer(store, name)
    pointer = load_current(store, name)
    parents = {number: release.parent for number, release in found.items()}
    served, pending = pointer.release if pointer else 0, turn.release if turn else 0
    return releases_to_keep(parents, served, pending, load_pins(store, name), last)


def _unneeded(
    store: Store, name: SpaceName, found: Mapping[int, Release], kept: Collection[int]
) -> tuple[str, ...]:
    needed = {key for number in kept for key in removable_files(found[number])}
    named = {key for release in found.values() for key in removable_files(release)}
    old = named | load_pending_removal(store, name).files  # of an interrupted removal
    young = time.time() - IN_FLIGHT
    there = {**_files(store, name), **store.list_temporary(str(name))}
    return tuple(
        sorted(k for k, at in there.items() if k not in needed and (k in old or at < young))
    )


def _spare(store: Store, name: SpaceName, plan: Retention, last: int) -> Retention:
    """The plan without what has come to be needed since it was made.

    A release that somebody has pinned, or turned to, or that a run has made meanwhile keeps
    its files. What is not in the announced plan is never removed by it.
    """
    found = _every(store, name)
    kept = _kept(store, name, found, last)
    kept |= {n: "made meanwhile" for n in found if n not in kept and n not in plan.releases}
    needed = {key for number in kept for key in removable_files(found[number])}
    return Retention(
        dict(sorted(kept.items())),
        tuple(number for number in plan.releases if number not in kept),
        tuple(key for key in plan.files if key not in needed),
    )


def _files(store: Store, name: SpaceName) -> dict[str, float]:
    return {
        **store.list_with_mtime(parts_folder(name)),
        **store.list_with_mtime(rejects_folder(name)),
    }


def _forget(store: Store, name: SpaceName) -> None:
    """Drop removed releases from the pointer's history; a run that moves it first has won."""
    data = store.read(current_key(name))
    if data is None:
        return
    pointer, there = Current.from_bytes(data.to_pybytes()), release_numbers(store, name)
    left = tuple(one for one in pointer.served if one.release in there)
    if left != pointer.served:
        store.compare_and_swap(
            current_key(name), data.to_pybytes(), replace(pointer, served=left).to_bytes()
        )


def _clean_table(store: Store, name: SpaceName, kept: Mapping[int, str]) -> None:
    """Drop the table's versions that are older than those of every release in reach.

    Pins do not count: a pinned release is read from Parquet.
    """
    pointer = load_current(store, name)
    if pointer is not None:
        served = [s for s in pointer.served if kept.get(s.release, "pinned") != "pinned"]
        prune_versions(store.address, name, {pointer.table_version, *(one.table_version for one in served)})
