"""What runs have left behind that nobody needs any more."""

from __future__ import annotations

import time
from collections.abc import Mapping

from commonspace.pipeline.contract.layout import runs_folder, shards_folder
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Run

RUNS_KEPT = 20
DAYS_KEPT = 7
DAY = 86_400.0
"""Seconds; also how long after its last try a run that a gate refused may be tried again."""


def remove_old_runs(run: Run) -> None:
    """Remove what earlier runs of the collection have left.

    These are the folders of runs that ended, but for the latest, and what nobody has touched for
    a week: runs that died, and shards that no plan asks for any more.
    """
    collection, store, now = run.collection.name, run.store, time.time()
    mtimes = store.list_with_mtime(runs_folder(collection))
    _remove_stale_shards(store, shards_folder(collection), mtimes, now - DAYS_KEPT * DAY)
    keys_by_run: dict[str, list[str]] = {}
    for key in sorted(mtimes):
        keys_by_run.setdefault(key.split("/")[2], []).append(key)
    for unrelated in ("shards", run.id):
        keys_by_run.pop(unrelated, None)
    for name in _removable(keys_by_run, mtimes, now):
        store.delete_prefix(f"{runs_folder(collection)}/{name}")


def _remove_stale_shards(
    store: Store, folder: str, mtimes: Mapping[str, float], stale: float
) -> None:
    """Remove what lies beside shards and was written before `stale`.

    A canary stays as long as a shard that was encoded under it.
    """
    shards = [key for key in sorted(mtimes) if key.startswith(f"{folder}/")]
    fresh_folders = {key.rpartition("/")[0] for key in shards if mtimes[key] >= stale}
    for key in shards:
        parent, _, file = key.rpartition("/")
        if mtimes[key] < stale and not (file == "canary.parquet" and parent in fresh_folders):
            store.delete(key)
    for key, mtime in store.list_temporary(folder).items():
        if mtime < stale:
            store.delete(key)


def _removable(
    keys_by_run: Mapping[str, list[str]], mtimes: Mapping[str, float], now: float
) -> set[str]:
    """The runs whose folders go."""
    # By when each was touched: a backfill's ids are as old as its partitions.
    touched = {name: max(mtimes[key] for key in keys) for name, keys in keys_by_run.items()}
    ended = [
        name
        for name in sorted(touched, key=lambda name: touched[name])
        if _has_ended(keys_by_run[name], "report.json")
        or (
            touched[name] < now - DAY
            and _has_ended(keys_by_run[name], "report.json", "refusal.json")
        )
    ]
    dead = [name for name in touched if touched[name] < now - DAYS_KEPT * DAY]
    return {*ended[: -(RUNS_KEPT - 1)], *dead}


def _has_ended(keys: list[str], *last_files: str) -> bool:
    """Whether every space that was planned has one of these files."""
    planned, done = set[str](), set[str]()
    for key in keys:
        folder, _, file = key.rpartition("/")
        planned |= {folder} if file == "plan.json" else set()
        done |= {folder} if file in last_files else set()
    return bool(planned) and planned <= done
