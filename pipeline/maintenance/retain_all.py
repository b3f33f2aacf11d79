"""Retention over all spaces of a warehouse: as their collection files say, or as is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.layout import retirement_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.maintenance.drop import drop_version
from commonspace.pipeline.maintenance.retain import Retention, plan_retention, retain
from commonspace.pipeline.read.catalog import matching_names
from commonspace.pipeline.read.space_versions import begun_versions
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.markers.pins import load_pins
from commonspace.pipeline.release.markers.retirement import load_retirement
from commonspace.pipeline.storage.store import Store

LEFT_OUT = "no collection file that was read says how many releases to keep"
HOW_TO_INCLUDE = (
    "Correct the collection file, set COMMONSPACE_COLLECTIONS to its folder, or pass --keep."
)
NOTHING = Retention({}, (), ())


@dataclass(frozen=True, kw_only=True)
class SpaceRetention:
    """What was kept and removed of a space, or would be in a dry run."""

    space: SpaceName
    dry_run: bool
    retention: Retention = NOTHING
    left_out: str | None = None
    """Why nothing was looked at; None where the space was not left out."""
    error: CommonspaceError | None = None

    def to_json(self) -> dict[str, Any]:
        kept = {str(number): reason for number, reason in self.retention.kept.items()}
        return {
            "space": str(self.space),
            "kept": kept,
            "removed": list(self.retention.removed_releases),
            "files": list(self.retention.removed_files),
            "dry_run": self.dry_run,
            "left_out": self.left_out,
            **(self.error.to_json() if self.error else {}),
        }


def retain_all(
    store: Store,
    collections: Sequence[Collection],
    name: str | None = None,
    *,
    keep: int | None = None,
    retired: bool = False,
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Remove what is not kept, space by space; a space that fails does not stop the others.

    Args:
        store: the warehouse.
        collections: those whose files say how many releases to keep.
        name: a collection, a space or a version; everything by default.
        keep: how many releases; by default as the collection file says, and a space without one
            is left out.
        retired: whether retired versions are removed altogether, except for those with a pin.
        dry_run: whether nothing is removed.

    Returns:
        the JSON of a SpaceRetention for each space; one that failed has `error`.

    Raises:
        NotPublished: the name matches nothing.
        UserMistake: the name matches a space that would be left out, and `retired` is not given.
    """
    last = {c.name: c.collection.keep_releases for c in collections}
    spaces = [SpaceName.parse(space) for space in matching_names(_spaces_with_files(store), name)]
    unknown = [space for space in spaces if keep is None and space.collection not in last]
    if name is not None and unknown and not retired:
        raise UserMistake(LEFT_OUT, item=str(unknown[0]), do=HOW_TO_INCLUDE)
    return [
        _retain_space(
            store, space, keep or last.get(space.collection), retired=retired, dry_run=dry_run
        ).to_json()
        for space in spaces
    ]


def _retain_space(
    store: Store, space: SpaceName, last: int | None, *, retired: bool, dry_run: bool
) -> SpaceRetention:
    try:
        if retired and load_retirement(store, space) is not None and not load_pins(store, space):
            retention = _drop_version(store, space, dry_run=dry_run)
        elif last is None:
            return SpaceRetention(space=space, dry_run=dry_run, left_out=LEFT_OUT)
        else:
            retention = (plan_retention if dry_run else retain)(store, space, last)
    except CommonspaceError as error:
        return SpaceRetention(space=space, dry_run=dry_run, error=error)
    return SpaceRetention(space=space, dry_run=dry_run, retention=retention)


def _drop_version(store: Store, space: SpaceName, *, dry_run: bool) -> Retention:
    numbers = tuple(release_numbers(store, space))
    files = store.list(str(space)) if dry_run else drop_version(store, space)
    return Retention({}, numbers, tuple(files))


def _spaces_with_files(store: Store) -> list[str]:
    """Every version of a space that has more than the mark of its retirement."""
    spaces = [(c, s) for c in store.folders("") if "." not in c for s in store.folders(c)]
    names = [SpaceName(c, s, n) for c, s in spaces for n in begun_versions(store, c, s)]
    return [
        str(name)
        for name in names
        if any(key != retirement_key(name) for key in store.list(str(name)))
    ]
