"""Run: the straight line over a collection, from its source to its readers.

pull -> for each space: plan -> encode -> validate -> publish -> promote
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pipeline.config import Collection, SpaceSection
from pipeline.contract import SpaceName
from pipeline.errors import CommonspaceError, Conflict
from pipeline.records import Scope
from pipeline.releases import current, load_release, release_rejects
from pipeline.report import report_stage
from pipeline.stages import (
    encode_stage,
    plan_stage,
    promote_stage,
    publish_stage,
    pull_stage,
    validate_stage,
)
from pipeline.store import LocalStore
from pipeline.workspace import Run, Work

ATTEMPTS = 5
KEPT_RUNS = 20


def new_run_id() -> str:
    """Sorts by time and does not repeat."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def run_collection(
    run: Run, spaces: list[SpaceSection], *, promote: bool = True, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Bring every given space to what the source offers; one report each.

    A run that is interrupted anywhere and started again finishes what is missing and does
    nothing twice. Raises CommonspaceError; what was served before is then served still.
    """
    with _nothing_left_behind(run):
        pulled = pull_stage(run)
        for work in (Work(run, space) for space in spaces):
            plan_stage(work)
    tell(f"{run.collection.name}: {pulled['items']:,} items, {pulled['rejected']:,} rejected")
    reports = [_run_space(Work(run, space), promote, tell) for space in spaces]
    forget_old_runs(run)
    return reports


def plan_collection(run: Run, spaces: list[SpaceSection]) -> list[dict[str, Any]]:
    """What a run would do to each space; leaves nothing behind."""
    try:
        pull_stage(run)
        return [
            {"collection": run.collection.name, "space": s.name, "version": s.version}
            | plan_stage(Work(run, s))
            for s in spaces
        ]
    finally:
        _forget(run.store, run.folder)


def rejected_ids(store: LocalStore, collection: Collection, spaces: list[SpaceSection]) -> Scope:
    """The scope of the items that the current releases hold as rejects."""
    found: set[str] = set()
    for space in spaces:
        name = SpaceName(collection.name, space.name, space.version)
        pointer = current(store, name)
        if pointer:
            rejects = release_rejects(store, load_release(store, name, pointer.release))
            found.update(item for item in rejects["id"].to_pylist() if item is not None)
    return Scope(ids=frozenset(found))


def finish(work: Work) -> None:
    """Drop the shards that a promoted release now holds."""
    for key in work.noted("plan.json")["shards"]:
        work.run.store.delete(work.shard(key))


def forget_old_runs(run: Run) -> None:
    """Keep the folders of the latest runs only."""
    folder = f".runs/{run.collection.name}"
    runs = {key.split("/")[2] for key in run.store.list(folder)} - {"shards", run.id}
    for old in sorted(runs)[: -(KEPT_RUNS - 1)]:
        _forget(run.store, f"{folder}/{old}")


def _run_space(work: Work, promote: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    for attempt in range(ATTEMPTS):
        try:
            planned = work.noted("plan.json") if attempt == 0 else plan_stage(work)
            tell(_sentence(work, planned))
            encode_stage(work, planned["shards"])
            validate_stage(work)
            release = publish_stage(work)
            if promote:
                promote_stage(work, release.number)
                finish(work)
            return report_stage(work)
        except Conflict as conflict:
            if attempt == ATTEMPTS - 1:
                raise
            tell(f"{work.name}: {conflict.what}; planning again")
            work = Work(work.run, work.space)
    raise AssertionError("unreachable")


def _sentence(work: Work, planned: dict[str, Any]) -> str:
    done = ", ".join(f"{planned[a]:,} {a}" for a in ("encode", "reuse", "keep", "reject", "delete"))
    seconds = planned["estimated_seconds"]
    about = f", about {seconds:,.0f} s" if seconds else ""
    return f"{work.name} ({work.spec.label}): {done}{about}"


class _nothing_left_behind:  # noqa: N801  (reads as a clause of the `with` statement)
    """Removes the run's folder where pull or plan end in an error."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(CommonspaceError):
                _forget(self._run.store, self._run.folder)


def _forget(store: LocalStore, folder: str) -> None:
    for key in store.list(folder):
        store.delete(key)
