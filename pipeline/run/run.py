"""Run: the straight line over a collection, from its source to its readers.

pull -> for each space: plan -> encode -> validate -> publish -> promote
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished
from commonspace.pipeline.plan.rejects import rejected_item
from commonspace.pipeline.plan.stage import is_stale, plan_stage
from commonspace.pipeline.publish.promote import promote_stage, recover_promotion
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.run.report import refusal, report_stage
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from commonspace.pipeline.workspace.work import Run, Work

ATTEMPTS = 5

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RunResult:
    """What became of a run's release."""

    release: int
    moved: bool = False
    """Whether readers see a change."""
    waits: bool = False
    """Whether it is a candidate that a person has to promote."""
    held: str = ""
    """Why nothing is promoted and how to go on, where the space is held."""


def new_run_id() -> str:
    """Sorts by time and does not repeat."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def run_collection(
    run: Run,
    spaces: list[SpaceSection],
    *,
    promote: bool | None = None,
    log: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Bring every given space to what the source offers; one report each.

    promote: whether readers see the new releases, or they are left as candidates; as the
    collection file says where it is not given.

    A space that is refused has `error` in its report, and the others go on. A run that is
    interrupted anywhere and started again finishes what is missing and does nothing twice.
    Raises CommonspaceError for what concerns all spaces, and where none of them can be planned.
    """
    works = [Work(run, space) for space in spaces]
    with _nothing_left_behind(run):
        pulled = pull_stage(run)
        planned = _plans(works)
    log(f"{run.collection.name}: {pulled['items']:,} items, {pulled['rejected']:,} rejected")
    reports = [
        refusal(work, plan) if isinstance(plan, CommonspaceError) else _report(work, promote, log)
        for work, plan in zip(works, planned, strict=True)
    ]
    remove_old_runs(run)
    return reports


def plan_collection(run: Run, spaces: list[SpaceSection]) -> list[dict[str, Any]]:
    """What a run would do to each space; leaves nothing behind.

    A space that cannot be planned has `error`. Raises CommonspaceError where none can.
    """
    works = [Work(run, space) for space in spaces]
    try:
        pull_stage(run)
        return [
            refusal(work, plan)
            if isinstance(plan, CommonspaceError)
            else {
                "collection": run.collection.name,
                "space": work.space.name,
                "version": work.space.version,
                **plan,
            }
            for work, plan in zip(works, _plans(works), strict=True)
        ]
    finally:
        run.store.delete_prefix(run.folder)


def _plans(works: list[Work]) -> list[dict[str, Any] | CommonspaceError]:
    """The plan of each space, or why there is none. Raises the first reason where none has one."""
    found: list[dict[str, Any] | CommonspaceError] = []
    for work in works:
        try:
            found.append(plan_stage(work))
        except CommonspaceError as error:
            found.append(error)
    for first in found[:1]:
        if isinstance(first, CommonspaceError) and not any(isinstance(p, dict) for p in found):
            raise first
    return found


def rejected_ids(store: Store, collection: Collection, spaces: list[SpaceSection]) -> Scope:
    """The scope of the items that the current releases hold as rejects."""
    found: set[str] = set()
    for space in spaces:
        name = SpaceName(collection.name, space.name, space.version)
        pointer = load_current(store, name)
        if pointer:
            rejects = read_rejects(store, load_release(store, name, pointer.release))
            items = (rejected_item(row, space) for row in rejects.to_pylist())
            found.update(item for item in items if item is not None)
    return Scope(ids=frozenset(found))


def replanning_on_conflict(
    work: Work, act: Callable[[Work], Answer], log: Callable[[str], None]
) -> Answer:
    """`act`, and again from a new plan whenever another run has published meanwhile."""
    for _ in range(ATTEMPTS - 1):
        try:
            return act(work)
        except (Conflict, ContractBroken, NotPublished) as error:
            # Of a release that is not served any more, files may have been removed.
            if not isinstance(error, Conflict) and not is_stale(work):
                raise
            log(f"{work.name}: {error.what}; planning again")
            work = Work(work.run, work.space)
            plan_stage(work, again=True)
    return act(work)


def encode_and_validate(work: Work) -> Verdict:
    """Encode what of the plan no run has finished yet, then hold the gates.

    Raises Conflict where the plan is out of date: encoding for it would be in vain.
    """
    if is_stale(work):
        raise Conflict("another run was promoted since the plan was made", item=str(work.name))
    encode_stage(work, work.read_note("plan.json")["shards"])
    return validate_stage(work)


def ensure_published(work: Work) -> Release:
    """The plan's release, made where it is missing."""
    if not work.has("verdict.json"):
        encode_and_validate(work)
    return publish_stage(work)


def finish(work: Work, promote: bool, log: Callable[[str], None]) -> RunResult:
    """The plan's release, made where it is missing; promoted unless the space is held, loudly,
    or it is not wanted.

    Where it is not promoted, LanceDB is brought back to what is served, if a promotion was
    interrupted. Raises Conflict where the plan is out of date.
    """
    number = int(work.read_note("publish.json")["release"] if work.has("publish.json") else 0)
    number = number or ensure_published(work).number
    pointer = load_current(work.run.store, work.name)
    if promote and not (pointer and pointer.hold):
        return RunResult(number, moved=_promoted(work, number))
    recover_promotion(work.run.store, work.name, work.contract)
    served = pointer.release if pointer else 0
    if number != served and is_stale(work):  # nobody could promote what it has made
        raise Conflict("another run was promoted since the plan was made", item=str(work.name))
    held = pointer.hold.sentence(str(work.name), served, number) if pointer and pointer.hold else ""
    if held:
        log(held)
    return RunResult(number, waits=number != served, held=held)


def _promoted(work: Work, number: int) -> bool:
    moved = promote_stage(work, number)
    for key in work.read_note("plan.json")["shards"]:  # the release holds them now
        work.run.store.delete(work.shard(key))
    return moved


def _report(work: Work, promote: bool | None, log: Callable[[str], None]) -> dict[str, Any]:
    def act(work: Work) -> dict[str, Any]:
        log(_sentence(work, work.read_note("plan.json")))
        encode_and_validate(work)
        publish_stage(work)
        wanted = work.run.collection.promotes(work.space) if promote is None else promote
        finish(work, wanted, log)
        return report_stage(work)

    try:
        return replanning_on_conflict(work, act, log)
    except CommonspaceError as error:
        return refusal(work, error)


def _sentence(work: Work, planned: dict[str, Any]) -> str:
    counts = {**planned, "reject": planned["reject"] + planned["rejected_by_pull"]}
    done = ", ".join(f"{counts[a]:,} {a}" for a in ("encode", "reuse", "keep", "reject", "delete"))
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
                self._run.store.delete_prefix(self._run.folder)
