"""Which versions a space has, and which one a name without a version stands for."""

from __future__ import annotations

import re

from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.contract.name import SpaceName, SpaceReference
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.release.markers.retirement import load_retirement
from commonspace.pipeline.release.pointer import any_was_served
from commonspace.pipeline.storage.store import Store


def resolve_space_name(store: Store, name: str) -> SpaceName:
    """The version that a name stands for: without one, the highest promoted and not retired.

    Where all are retired, it is the highest promoted one; where none was ever promoted, the
    highest that was begun, or v1.

    Raises:
        NotPublished: the name is no name of a space.
    """
    reference = SpaceReference.parse(name)
    collection, space = reference.collection, reference.space
    if reference.version is not None:
        return SpaceName(collection, space, reference.version)
    published = published_versions(store, collection, space)
    names = [SpaceName(collection, space, version) for version in published]
    alive = [each for each in names if load_retirement(store, each) is None]
    if names:
        return (alive or names)[-1]
    return SpaceName(collection, space, max(begun_versions(store, collection, space), default=1))


def published_versions(store: Store, collection: str, space: str) -> list[int]:
    """The versions of a space that were promoted, ascending, even where CURRENT is lost."""
    begun = begun_versions(store, collection, space)
    names = [SpaceName(collection, space, version) for version in begun]
    return [name.version for name in names if _was_promoted(store, name)]


def _was_promoted(store: Store, name: SpaceName) -> bool:
    try:
        return bool(store.read(current_key(name))) or any_was_served(store, name)
    except ContractBroken:  # a folder stands there, say: whoever opens the space is told
        return True


def begun_versions(store: Store, collection: str, space: str) -> list[int]:
    """The versions of a space that have a folder, ascending, promoted or not."""
    folders = store.folders(f"{collection}/{space}")
    matches = (re.fullmatch(r"v([0-9]+)", folder) for folder in folders)
    return sorted(int(match[1]) for match in matches if match)
