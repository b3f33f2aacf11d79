"""What runs have left behind that nobody needs any more."""

from __future__ import annotations

import time

from commonspace.pipeline.contract.layout import runs_folder, shards_folder
from commonspace.pipeline.workspace.work import Run

RUNS_KEPT = 20
DAYS_KEPT = 7
DAY = 86_400.0
"""A run that a gate has refused may be tried again for so long after its last try."""


def remove_old_runs(run: Run) -> None:
    """Drop the folders of runs that ended, but for the latest, and what nobody has touched
    for a week: runs that died, and shards that no plan asks for any more."""
    store, folder = run.store, runs_folder(run.collection.name)
    written = store.list_with_mtime(folder)
    keys = sorted(written)
    now = time.time()
    stale, tried = now - DAYS_KEPT * DAY, now - DAY
    shards = [key for key in keys if key.startswith(f"{shards_folder(run.collection.name)}/")]
    fresh = {key.rpartition("/")[0] for key in shards if written[key] >= stale}
    for key in shards:  # a canary stays as long as a shard that was encoded under it
        place, _, file = key.rpartition("/")
        if written[key] < stale and not (file == "canary.parquet" and place in fresh):
            store.delete(key)
    for key, at in store.list_temporary(shards_folder(run.collection.name)).items():
        if at < stale:
            store.delete(key)
    runs: dict[str, list[str]] = {}
    for key in keys:
        runs.setdefault(key.split("/")[2], []).append(key)
    # By when each was touched: a backfill's ids are as old as its partitions.
    touched = {name: max(written[key] for key in keys) for name, keys in runs.items()}
    others = sorted(runs.keys() - {"shards", run.id}, key=lambda name: touched[name])
    ended = [
        name
        for name in others
        if _ended(runs[name], "report.json")
        or (touched[name] < tried and _ended(runs[name], "report.json", "refusal.json"))
    ]
    dead = [name for name in others if touched[name] < stale]
    for name in {*ended[: -(RUNS_KEPT - 1)], *dead}:
        store.delete_prefix(f"{folder}/{name}")


def _ended(keys: list[str], *ends: str) -> bool:
    """Every space that was planned has one of these files."""
    planned, done = set[str](), set[str]()
    for key in keys:
        place, _, file = key.rpartition("/")
        planned |= {place} if file == "plan.json" else set()
        done |= {place} if file in ends else set()
    return bool(planned) and planned <= done
