"""Retention over all spaces of a warehouse: as their collection files say, or as told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.catalogue import chosen
from pipeline.config import KEEP_RELEASES, Collection
from pipeline.contract import SpaceName
from pipeline.drop import drop
from pipeline.retain import Retention, retain, retention
from pipeline.retire import retirement
from pipeline.space_versions import versions
from pipeline.store import Store


def retain_spaces(
    store: Store,
    collections: Sequence[Collection],
    name: str | None = None,
    *,
    keep: int | None = None,
    retired: bool = False,
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Remove what is not kept, space by space; what was removed, or would be, of each.

    name: a collection, a space or a version; everything by default. keep: how many releases,
    by default as the collection file says. retired: whether retired versions are removed
    altogether. Raises NotPublished where the name matches nothing.
    """
    settings = {one.name: one.collection.keep_releases for one in collections}
    answers = []
    for space in chosen(_begun(store), name):
        collection, short, version = space.split("/")
        full = SpaceName(collection, short, int(version[1:]))
        last = keep or settings.get(collection, KEEP_RELEASES)
        if retired and retirement(store, full) is not None:
            done = _dropped(store, full, dry_run)
        else:
            done = (retention if dry_run else retain)(store, full, last)
        answers.append(
            {
                "space": space,
                "kept": {str(number): why for number, why in done.kept.items()},
                "removed": list(done.releases),
                "files": list(done.files),
                "dry_run": dry_run,
            }
        )
    return answers


def _begun(store: Store) -> list[str]:
    """Every space version with releases, promoted or not."""
    spaces = [(c, s) for c in store.folders("") if "." not in c for s in store.folders(c)]
    names = [f"{c}/{s}/v{n}" for c, s in spaces for n in versions(store, c, s)]
    return [
        name for name in names if len(store.list(name)) > store.list(name).count(f"{name}/RETIRED")
    ]


def _dropped(store: Store, name: SpaceName, dry_run: bool) -> Retention:
    gone = retention(store, name, 1)
    every = (*gone.kept, *gone.releases)
    files = store.list(str(name)) if dry_run else drop(store, name)
    return Retention({}, tuple(sorted(every)), tuple(files))
