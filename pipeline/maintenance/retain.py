"""Retention: which releases are kept, and the removal of all that only the others need.

Kept are the current release, the last N by number, the N that a chain of rollbacks would reach,
every pinned one, and what is being promoted. A file goes when no kept manifest names it. A file
that no manifest names at all may belong to a run that has not committed yet, or may still be being
written, and stays until it is a day old. `release/markers/removal.py` says why this is safe beside
runs, promotions and pins.
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
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.release.history import load_manifests, load_readable_manifests
from commonspace.pipeline.release.manifest import Release, release_numbers
from commonspace.pipeline.release.markers.marker import marker_bytes
from commonspace.pipeline.release.markers.pins import load_pins
from commonspace.pipeline.release.markers.removal import (
    PendingRemoval,
    load_pending_removal,
    removable_files,
)
from commonspace.pipeline.release.pointer import Current, load_current, require_pointer
from commonspace.pipeline.storage.store import Store

UNCOMMITTED_SECONDS = 86_400.0
"""For so long a file without a manifest may be of a run that has not committed yet."""


@dataclass(frozen=True)
class Retention:
    """What is kept of a space, and what is removed."""

    kept: Mapping[int, str]
    """Why each release is kept, by number."""
    removed_releases: tuple[int, ...]
    removed_files: tuple[str, ...]
    """Keys of parts and rejects."""


def releases_to_keep(
    parents: Mapping[int, int],
    *,
    served: int,
    pending: int,
    pinned: Collection[int],
    last: int,
) -> dict[int, str]:
    """The releases to keep, each with the reason.

    Args:
        parents: of each release, by number, the one it was made from.
        served: the current release; 0 for none.
        pending: the one that is being promoted; 0 for none.
        pinned: those with a pin.
        last: how many of the newest to keep, at least 1.
    """
    reasons: dict[int, str] = {}
    for number in sorted(parents)[-last:]:
        reasons[number] = f"one of the last {last}"
    earlier = served
    for _ in range(last):
        if earlier in parents:
            reasons.setdefault(earlier, "can be rolled back to")
            earlier = parents[earlier]
    for number in pinned:
        if number in parents:
            reasons.setdefault(number, "pinned")
    reasons |= {pending: "is being promoted"} if pending in parents else {}
    reasons |= {served: "current"} if served in parents else {}
    return dict(sorted(reasons.items()))


def plan_retention(store: Store, name: SpaceName, last: int) -> Retention:
    """What `retain` would do now; changes nothing.

    Raises:
        ContractBroken: as of `retain`.
    """
    releases = _load_all_releases(store, name)
    kept = _kept_now(store, name, releases, last)
    removed = tuple(number for number in releases if number not in kept)
    return Retention(kept, removed, _files_to_remove(store, name, releases, kept))


def retain(store: Store, name: SpaceName, last: int) -> Retention:
    """Remove what is not kept; a removal that was interrupted is completed, too.

    Args:
        store: the warehouse.
        name: the space.
        last: how many releases to keep, at least 1.

    Returns:
        what was kept and what was removed.

    Raises:
        ContractBroken: a manifest is damaged, so that nobody knows which files it needs.
    """
    with store.lock(retention_lock_key(name)):
        retention = plan_retention(store, name, last)
        if retention.removed_releases or retention.removed_files:
            retention = _remove(store, name, retention, last)
        if load_pending_removal(store, name) != PendingRemoval():
            store.delete(removal_key(name))
    with store.lock(promotion_lock_key(name)):
        _drop_removed_from_history(store, name)
        _prune_table_versions(store, name, retention.kept)
    return retention


def orphaned_files(store: Store, name: SpaceName) -> list[str]:
    """Files that no manifest names: of interrupted runs, or of one that is under way."""
    manifests = load_manifests(store, name).values()
    named = {key for release in manifests for key in removable_files(release)}
    return sorted(_stored_files(store, name).keys() - named)


def _load_all_releases(store: Store, name: SpaceName) -> dict[int, Release]:
    releases, damaged = load_readable_manifests(store, name)
    for error in damaged.values():
        raise ContractBroken(
            error.what,
            item=error.item,
            do="Nobody knows which files it needs, so nothing of the space is removed. Restore the "
            "file from a copy; or delete it if its release is neither served nor needed. "
            "Then run `retain` again.",
        )
    return releases


def _kept_now(
    store: Store, name: SpaceName, releases: Mapping[int, Release], last: int
) -> dict[int, str]:
    # Read before CURRENT: a promotion moves CURRENT first, then withdraws its announcement.
    promotion = load_pending_promotion(store, name)
    require_pointer(store, name)
    pointer = load_current(store, name)
    return releases_to_keep(
        {number: release.parent for number, release in releases.items()},
        served=pointer.release if pointer else 0,
        pending=promotion.release if promotion else 0,
        pinned=load_pins(store, name),
        last=last,
    )


def _files_to_remove(
    store: Store, name: SpaceName, releases: Mapping[int, Release], kept: Collection[int]
) -> tuple[str, ...]:
    needed = {key for number in kept for key in removable_files(releases[number])}
    named = {key for release in releases.values() for key in removable_files(release)}
    removable = named | load_pending_removal(store, name).files  # of an interrupted removal
    oldest_uncommitted = time.time() - UNCOMMITTED_SECONDS
    stored = {**_stored_files(store, name), **store.list_temporary(str(name))}
    return tuple(
        sorted(
            key
            for key, mtime in stored.items()
            if key not in needed and (key in removable or mtime < oldest_uncommitted)
        )
    )


def _remove(store: Store, name: SpaceName, planned: Retention, last: int) -> Retention:
    """Announces the removal, leaves out what has come to be needed, and deletes the rest."""
    pending = PendingRemoval(frozenset(planned.removed_releases), frozenset(planned.removed_files))
    store.put(removal_key(name), marker_bytes(pending))
    retention = _without_newly_needed(store, name, planned, last)
    for number in retention.removed_releases:  # first, so that readers learn why files are missing
        store.delete(release_key(name, number))
    for key in retention.removed_files:
        store.delete(key)
    return retention


def _without_newly_needed(
    store: Store, name: SpaceName, planned: Retention, last: int
) -> Retention:
    """The plan without what has come to be needed since it was made.

    A release keeps its files if it was pinned, promoted or made meanwhile. Nothing is removed that
    was not announced.
    """
    releases = _load_all_releases(store, name)
    kept = _kept_now(store, name, releases, last)
    known = {*kept, *planned.removed_releases}
    kept |= {number: "made meanwhile" for number in releases if number not in known}
    needed = {key for number in kept for key in removable_files(releases[number])}
    return Retention(
        dict(sorted(kept.items())),
        tuple(number for number in planned.removed_releases if number not in kept),
        tuple(key for key in planned.removed_files if key not in needed),
    )


def _stored_files(store: Store, name: SpaceName) -> dict[str, float]:
    """Every part and file of rejects, with when it was written."""
    return {
        **store.list_with_mtime(parts_folder(name)),
        **store.list_with_mtime(rejects_folder(name)),
    }


def _drop_removed_from_history(store: Store, name: SpaceName) -> None:
    """Removed releases leave the history in CURRENT, unless a run moves it at the same time."""
    data = store.read(current_key(name))
    if data is None:
        return
    stored = data.to_pybytes()
    pointer, numbers = Current.from_bytes(stored), release_numbers(store, name)
    remaining = tuple(served for served in pointer.served if served.release in numbers)
    if remaining != pointer.served:
        store.compare_and_swap(
            current_key(name), stored, replace(pointer, served=remaining).to_bytes()
        )


def _prune_table_versions(store: Store, name: SpaceName, kept: Mapping[int, str]) -> None:
    """Drops the table's versions that are older than those of every release in reach.

    Pins do not count: a pinned release is read from Parquet.
    """
    pointer = load_current(store, name)
    if pointer is not None:
        reachable = [s for s in pointer.served if kept.get(s.release, "pinned") != "pinned"]
        versions = {pointer.table_version, *(served.table_version for served in reachable)}
        prune_versions(store, name, versions)
