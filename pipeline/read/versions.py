"""The versions of a space that there are, and the one that is meant."""

from __future__ import annotations

import re

from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.contract.name import SpaceName, SpaceReference
from commonspace.pipeline.release.pointer import any_was_served
from commonspace.pipeline.release.retirement import load_retirement
from commonspace.pipeline.storage.store import Store


def full_name(store: Store, name: str) -> SpaceName:
    """The version that is meant: the highest promoted one that is not retired, if none is named.

    A version that nobody has promoted yet is found where there is no other. Raises NotPublished
    where the name is none.
    """
    named = SpaceReference.parse(name)
    collection, space = named.collection, named.space
    if named.version is not None:
        return SpaceName(collection, space, named.version)
    there = [SpaceName(collection, space, n) for n in published_versions(store, collection, space)]
    alive = [one for one in there if load_retirement(store, one) is None]
    return (alive or there or _begun(store, collection, space))[-1]


def _begun(store: Store, collection: str, space: str) -> list[SpaceName]:
    return [SpaceName(collection, space, n) for n in versions(store, collection, space) or [1]]


def published_versions(store: Store, collection: str, space: str) -> list[int]:
    """The versions of a space that have a promoted release, whether its pointer is lost or not."""
    found = (SpaceName(collection, space, n) for n in versions(store, collection, space))
    there = [one for one in found if store.read(current_key(one)) or any_was_served(store, one)]
    return [one.version for one in there]


def versions(store: Store, collection: str, space: str) -> list[int]:
    """The versions of a space that were begun, promoted or not."""
    folders = store.folders(f"{collection}/{space}")
    found = (re.fullmatch(r"v([0-9]+)", name) for name in folders)
    return sorted(int(match[1]) for match in found if match)
