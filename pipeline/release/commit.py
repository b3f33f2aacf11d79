"""Commit: a release becomes visible once its manifest is stored under the next free number."""

from __future__ import annotations

from collections.abc import Sequence

from commonspace.pipeline.contract.layout import parts_folder, rejects_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished
from commonspace.pipeline.release.manifest import (
    Release,
    create_release,
    load_release,
    release_numbers,
)
from commonspace.pipeline.release.markers.removal import (
    load_pending_removal,
    removable_files,
    require_not_in_removal,
)
from commonspace.pipeline.storage.store import Store

ATTEMPTS = 20


def commit(store: Store, name: SpaceName, draft: Release) -> Release:
    """Commit the draft under the next number, or adopt an equal release of the same parent.

    Raises:
        Conflict: other runs keep taking the numbers, or files of the release are being removed.
    """
    for _ in range(ATTEMPTS):
        numbers = release_numbers(store, name)
        release = _equal_release(store, name, draft, numbers)
        if release is None:
            number = max(numbers, default=0) + 1
            release = Release.from_json({**draft.to_json(), "number": number})
            if not create_release(store, name, release):
                continue
        _require_files(store, name, release)
        return release
    raise Conflict("other runs keep publishing", item=str(name))


def _equal_release(
    store: Store, name: SpaceName, draft: Release, numbers: Sequence[int]
) -> Release | None:
    """The newest release of the same parent that holds the same and is not being removed."""
    pending = load_pending_removal(store, name)
    for number in reversed(numbers):
        if number <= draft.parent:
            break
        try:
            release = load_release(store, name, number)
        except (NotPublished, ContractBroken):  # removed since the listing, or damaged
            continue
        stays = number not in pending.releases and not removable_files(release) & pending.files
        if stays and release.parent == draft.parent and release.state == draft.state:
            return release
    return None


def _require_files(store: Store, name: SpaceName, release: Release) -> None:
    """Raise Conflict where the release, or a file of it, has been removed.

    A new part may equal one of an old release, which `retain` may have removed before it could
    see this manifest.
    """
    try:
        require_not_in_removal(store, name, release)
    except NotPublished as error:  # an equal candidate, superseded
        raise Conflict(f"release {release.number} has just been removed", item=str(name)) from error
    stored = {*store.list(parts_folder(name)), *store.list(rejects_folder(name))}
    missing = removable_files(release) - stored
    if missing:
        raise Conflict(f"{min(missing)} has just been removed as a file of an old release")
