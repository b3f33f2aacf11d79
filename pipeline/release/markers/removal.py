"""What `retain` is about to remove, announced so that nobody builds on it meanwhile.

Removal beside runs needs no lock, because both sides first announce what they do and then look
at what the other has announced (Dekker's mutual exclusion, 1965):

    retain    announces what it will remove, then looks which releases are promoted, about to
              be, pinned or new, spares what they need, and deletes the rest;
    promote   announces the release it promotes, then looks whether that is being removed;
    pin       writes the pin, then looks whether its release is being removed;
    publish   gives no new file the name of one that is being removed.

Whichever of two looks later sees the other. An announcement left behind by a killed `retain`
prevents the promotion and the pinning of what it names until `retain` is run again.
"""

from __future__ import annotations

from dataclasses import dataclass

from commonspace.pipeline.contract.layout import removal_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.release.markers.marker import load_marker
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class PendingRemoval:
    """The numbers of the releases and the keys of the files that are being removed."""

    releases: frozenset[int] = frozenset()
    files: frozenset[str] = frozenset()


def load_pending_removal(store: Store, name: SpaceName) -> PendingRemoval:
    """What is being removed from the space; nothing, most of the time."""
    stored = load_marker(store, removal_key(name), PendingRemoval) or PendingRemoval()
    return PendingRemoval(frozenset(stored.releases), frozenset(stored.files))


def removable_files(release: Release) -> set[str]:
    """The keys of every file that the manifest names, parts and rejects."""
    rejects = {str(release.rejects["key"])} if release.rejects else set()
    return {part.key for part in release.parts} | rejects


def require_not_in_removal(store: Store, name: SpaceName, release: Release) -> None:
    """Refuse a release that is being removed, or is gone.

    To be called once that is stored which makes `retain` spare the release.

    Raises:
        Conflict: the release is being removed.
        NotPublished: it is gone.
    """
    pending = load_pending_removal(store, name)
    if release.number in pending.releases or removable_files(release) & pending.files:
        raise Conflict(
            f"release {release.number} is being removed",
            item=str(name),
            do="Choose another release. If `commonspace retain` was interrupted, run it again "
            "first: it completes the removal.",
        )
    load_release(store, name, release.number)


def key_not_in_removal(key: str, pending: PendingRemoval) -> str:
    """The key for a new file: `key`, numbered where a file of that name is being removed."""
    stem, dot, suffix = key.rpartition(".")
    number = 1
    while key in pending.files:
        number += 1
        key = f"{stem}-{number}{dot}{suffix}"
    return key
