"""Which versions a space has, and which one a name without a version stands for."""

from __future__ import annotations

import re

from commonspace.pipeline.contract.layout import current_key, spec_key
from commonspace.pipeline.contract.name import SpaceName, SpaceReference, is_name
from commonspace.pipeline.errors import ContractBroken, NotPublished, did_you_mean
from commonspace.pipeline.release.markers.retirement import load_retirement
from commonspace.pipeline.release.pointer import any_was_served
from commonspace.pipeline.storage.store import Store

LIST_HINT = "`commonspace show` lists what there is; COMMONSPACE_WAREHOUSE says where to look."


def resolve_space_name(store: Store, name: str) -> SpaceName:
    """The version that a name stands for: without one, the highest promoted and not retired.

    Where all are retired, it is the highest promoted one; where none was ever promoted, the
    highest that was begun. A collection stands for its only space.

    Raises:
        NotPublished: the name is no name of a space, or there is none of this name.
    """
    reference = SpaceReference.parse(_only_space(store, name) if is_name(name) else name)
    collection, space = reference.collection, reference.space
    if reference.version is not None:
        named = SpaceName(collection, space, reference.version)
        if store.exists(spec_key(named)):  # most are: nothing needs to be listed
            return named
    begun = begun_versions(store, collection, space)
    if not begun or reference.version not in {None, *begun}:
        known = [f"{collection}/{space}/v{version}" for version in begun] or _spaces(store)
        raise NotPublished(
            f"{name} has no promoted release in {store.address}{did_you_mean(name, known)}",
            do=LIST_HINT,
        )
    if reference.version is not None:
        return SpaceName(collection, space, reference.version)
    published = published_versions(store, collection, space)
    names = [SpaceName(collection, space, version) for version in published]
    alive = [each for each in names if load_retirement(store, each) is None]
    if names:
        return (alive or names)[-1]
    return SpaceName(collection, space, begun[-1])


def published_versions(store: Store, collection: str, space: str) -> list[int]:
    """The versions of a space that were promoted, ascending, even where CURRENT is lost."""
    begun = begun_versions(store, collection, space)
    names = [SpaceName(collection, space, version) for version in begun]
    return [name.version for name in names if _was_promoted(store, name)]


def _only_space(store: Store, collection: str) -> str:
    """The only space of a collection, as `collection/space`."""
    spaces = _spaces(store, collection)
    if len(spaces) == 1:
        return spaces[0]
    if spaces:
        raise NotPublished(
            f"{collection!r} is a collection of {len(spaces)} spaces: {', '.join(spaces)}",
            do="Name one of them.",
        )
    known = [name for name in store.folders("") if is_name(name) and _spaces(store, name)]
    raise NotPublished(
        f"{collection} has no promoted release in {store.address}{did_you_mean(collection, known)}",
        do=LIST_HINT,
    )


def _spaces(store: Store, *collections: str) -> list[str]:
    """The spaces with a version that was begun, of all collections by default."""
    return [
        f"{collection}/{space}"
        for collection in filter(is_name, collections or store.folders(""))
        for space in filter(is_name, store.folders(collection))
        if begun_versions(store, collection, space)
    ]


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
