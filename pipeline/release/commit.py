"""Commit: a manifest under the next number, put if absent."""

from __future__ import annotations

from collections.abc import Iterable

from commonspace.pipeline.contract.layout import parts_folder, rejects_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished
from commonspace.pipeline.release.manifest import (
    Release,
    create_release,
    load_release,
    release_numbers,
)
from commonspace.pipeline.release.removal import (
    load_pending_removal,
    removable_files,
    require_not_in_removal,
)
from commonspace.pipeline.storage.store import Store


def commit(store: Store, name: SpaceName, draft: Release) -> Release:
    """Commit the draft as the next number, or adopt an equal candidate of the same parent.

    Raises Conflict where other runs keep taking the numbers, or files are being removed.
    """
    for _ in range(20):
        taken = release_numbers(store, name)
        equal = _equal_release(store, name, draft, [n for n in reversed(taken) if n > draft.parent])
        if equal is not None:
            return _whole(store, name, equal)
        numbered = Release.from_json({**draft.to_json(), "number": max(taken, default=0) + 1})
        if create_release(store, name, numbered):
            return _whole(store, name, numbered)
    raise Conflict("other runs keep publishing", item=str(name))


def _equal_release(
    store: Store, name: SpaceName, draft: Release, numbers: Iterable[int]
) -> Release | None:
    """A release that holds and follows the same, and is not about to be removed."""
    pending = load_pending_removal(store, name)
    for number in numbers:
        try:
            found = load_release(store, name, number)
        except (NotPublished, ContractBroken):  # removed since it was listed, or damaged
            continue
        stays = number not in pending.releases and not removable_files(found) & pending.files
        if stays and found.parent == draft.parent and found.state == draft.state:
            return found
    return None


def _whole(store: Store, name: SpaceName, release: Release) -> Release:
    """The release, now that its manifest has been seen by whoever removes files.

    Raises Conflict where one was removed before: a new part may equal one of an old release.
    """
    try:
        require_not_in_removal(store, name, release)
    except NotPublished as error:  # an equal candidate, superseded
        raise Conflict(f"release {release.number} has just been removed", item=str(name)) from error
    there = {*store.list(parts_folder(name)), *store.list(rejects_folder(name))}
    gone = removable_files(release) - there
    if gone:
        raise Conflict(f"{min(gone)} has just been removed as a file of an old release")
    return release
