"""Retention over all spaces of a warehouse: as their collection files say, or as told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.layout import retirement_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.maintenance.drop import drop
from commonspace.pipeline.maintenance.retain import Retention, retain, retention
from commonspace.pipeline.read.catalog import matching_names
from commonspace.pipeline.read.versions import begun_versions
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.pins import load_pins
from commonspace.pipeline.release.retirement import load_retirement
from commonspace.pipeline.storage.store import Store

LEFT_OUT = "no collection file that was read says how many releases to keep"
SAY_HOW_MANY = (
    "Mend the collection file, set COMMONSPACE_COLLECTIONS to its folder, or pass --keep."
)


def retain_all(
    store: Store,
    collections: Sequence[Collection],
    name: str | None = None,
    *,
    keep: int | None = None,
    retired: bool = False,
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Remove what is not kept, space by space; what was removed, or would be, of each.

    name: a collection, a space or a version; everything by default. keep: how many releases;
    by default as the collection file says, and a space without one is left out. retired: whether
    retired versions are removed altogether, but for those with a pin. A space that fails has
    `error` in its answer, and the others go on. Raises NotPublished where the name matches
    nothing, UserMistake where it matches a space that would be left out and `retired` is not given.
    """
    last = {one.name: one.collection.keep_releases for one in collections}
    spaces = [SpaceName.parse(space) for space in matching_names(_begun(store), name)]
    unknown = [space for space in spaces if keep is None and space.collection not in last]
    if name is not None and unknown and not retired:
        raise UserMistake(LEFT_OUT, item=str(unknown[0]), do=SAY_HOW_MANY)
    return [
        _answer(store, space, keep or last.get(space.collection), retired, dry_run)
        for space in spaces
    ]


def _answer(
    store: Store, space: SpaceName, last: int | None, retired: bool, dry_run: bool
) -> dict[str, Any]:
    done, told = Retention({}, (), ()), dict[str, Any](left_out=None)
    try:
        if retired and load_retirement(store, space) is not None and not load_pins(store, space):
            done = _dropped(store, space, dry_run)
        elif last is None:
            told["left_out"] = LEFT_OUT
        else:
            done = (retention if dry_run else retain)(store, space, last)
    except CommonspaceError as error:
        told |= error.to_json()
    return {
        "space": str(space),
        "kept": {str(number): why for number, why in done.kept.items()},
        "removed": list(done.releases),
        "files": list(done.files),
        "dry_run": dry_run,
        **told,
    }


def _begun(store: Store) -> list[str]:
    """Every space version with releases, promoted or not."""
    spaces = [(c, s) for c in store.folders("") if "." not in c for s in store.folders(c)]
    names = [f"{c}/{s}/v{n}" for c, s in spaces for n in begun_versions(store, c, s)]
    return [
        name
        for name in names
        if any(key != retirement_key(SpaceName.parse(name)) for key in store.list(name))
    ]


def _dropped(store: Store, name: SpaceName, dry_run: bool) -> Retention:
    every = tuple(release_numbers(store, name))
    files = store.list(str(name)) if dry_run else drop(store, name)
    return Retention({}, every, tuple(files))
