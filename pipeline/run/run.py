"""Run: the straight line over a collection, from its source to its readers.

pull -> for each space: plan -> encode -> validate -> publish -> promote
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.pull.rejects import rejected_item
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.run.notes import Refusal, RunReport
from commonspace.pipeline.run.report import record_refusal, report_stage
from commonspace.pipeline.run.steps import (
    Log,
    encode_and_validate,
    finish,
    replanning_on_conflict,
)
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Run, Work


def new_run_id() -> str:
    """Sorts by time and does not repeat."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def run_collection(
    run: Run,
    spaces: list[SpaceSection],
    *,
    promote: bool | None = None,
    log: Log,
) -> list[dict[str, Any]]:
    """Make every given space equal to what the source offers.

    A space that is refused does not stop the others. A run that is interrupted anywhere and started
    again finishes what is missing and does nothing twice.

    Args:
        run: the run, of everything or of a scope.
        spaces: some of its collection's.
        promote: whether readers see the new releases, or these are left as candidates; None: as
            the collection file says.
        log: takes the run's progress, a line at a time.

    Returns:
        for each space the JSON of its RunReport, or of a Refusal, which has `error`.

    Raises:
        CommonspaceError: for what concerns all spaces, and where none of them can be planned.
    """
    works = [Work(run, space) for space in spaces]
    with _removing_failed_run(run):
        pulled = pull_stage(run)
        plans = _plan_all(works)
    log(f"{run.collection.name}: {pulled.items:,} items, {pulled.rejected:,} rejected")
    reports = _execute_plans(works, plans, promote, log)
    remove_old_runs(run)
    return [report.to_json() for report in reports]


def plan_collection(run: Run, spaces: list[SpaceSection]) -> list[dict[str, Any]]:
    """What a run would do to each space; leaves nothing behind.

    Returns:
        for each space the JSON of its plan, or of a Refusal, which has `error`.

    Raises:
        CommonspaceError: no space can be planned.
    """
    works = [Work(run, space) for space in spaces]
    try:
        pull_stage(run)
        return [
            record_refusal(work, plan).to_json()
            if isinstance(plan, CommonspaceError)
            else {
                "collection": run.collection.name,
                "space": work.space.name,
                "version": work.space.version,
                **plan.to_json(),
            }
            for work, plan in zip(works, _plan_all(works), strict=True)
        ]
    finally:
        run.store.delete_prefix(run.folder)


def rejected_ids(store: Store, collection: Collection, spaces: list[SpaceSection]) -> Scope:
    """The scope of the items that the current releases hold as rejects."""
    ids: set[str] = set()
    for space in spaces:
        name = SpaceName(collection.name, space.name, space.version)
        pointer = load_current(store, name)
        if pointer:
            rejects = read_rejects(store, load_release(store, name, pointer.release))
            items = (rejected_item(row, space) for row in rejects.to_pylist())
            ids.update(item for item in items if item is not None)
    return Scope(ids=frozenset(ids))


def _plan_all(works: list[Work]) -> list[PlanSummary | CommonspaceError]:
    """The plan of each space, or why there is none; raises the first reason where all have one."""
    plans = [_plan_or_error(work) for work in works]
    errors = [plan for plan in plans if isinstance(plan, CommonspaceError)]
    if errors and len(errors) == len(plans):
        raise errors[0]
    return plans


def _plan_or_error(work: Work) -> PlanSummary | CommonspaceError:
    try:
        return plan_stage(work)
    except CommonspaceError as error:
        return error


def _execute_plans(
    works: list[Work], plans: list[PlanSummary | CommonspaceError], promote: bool | None, log: Log
) -> list[RunReport | Refusal]:
    reports, filled = list[RunReport | Refusal](), set[str]()
    for work, made in zip(works, plans, strict=True):
        plan = made
        if isinstance(plan, PlanSummary) and plan.encode and plan.fingerprint in filled:
            plan = _plan_or_error(work)  # a space before it may hold the vectors by now
        if isinstance(plan, CommonspaceError):
            reports.append(record_refusal(work, plan))
        else:
            reports.append(_execute_plan(work, promote, log))
            filled.add(plan.fingerprint)
    return reports


def _execute_plan(work: Work, promote: bool | None, log: Log) -> RunReport | Refusal:
    def act(work: Work) -> RunReport:
        plan = work.read_note(PlanSummary)
        log(_describe_plan(work, plan))
        for notice in plan.notices:
            log(f"{work.name}: {notice}")
        for notice in encode_and_validate(work).notices:
            log(f"{work.name}: {notice}")
        publish_stage(work)
        by_default = work.run.collection.promotes(work.space)
        finish(work, promote=by_default if promote is None else promote, log=log)
        return report_stage(work)

    try:
        return replanning_on_conflict(work, act, log)
    except CommonspaceError as error:
        return record_refusal(work, error)


def _describe_plan(work: Work, plan: PlanSummary) -> str:
    counts = {**plan.to_json(), "reject": plan.rejected}
    actions = ("encode", "reuse", "keep", "reject", "delete")
    listed = ", ".join(f"{counts[action]:,} {action}" for action in actions)
    seconds = plan.estimated_seconds
    estimate = f", about {seconds:,.0f} s" if seconds else ""
    return f"{work.name} ({work.spec.label}): {listed}{estimate}"


@contextmanager
def _removing_failed_run(run: Run) -> Iterator[None]:
    """Removes the run's folder where the block ends in an error or is interrupted."""
    try:
        yield
    except BaseException:
        with suppress(CommonspaceError):
            run.store.delete_prefix(run.folder)
        raise
