"""One stage of a run in a process of its own: what a scheduler's task executes.

The answers are small: counts and numbers, never rows. What a stage needs of the ones before
it is in the run's folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import (
    GateRefused,
    NothingOffered,
    PartitionNotFound,
    SourceNotFound,
    UserMistake,
)
from commonspace.pipeline.plan.stage import is_stale, plan_stage
from commonspace.pipeline.publish.manual import promote_approved
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.run.announcement import Announcement
from commonspace.pipeline.run.markdown import plan_text, release_text, report_text
from commonspace.pipeline.run.report import record_refusal, report_stage
from commonspace.pipeline.run.run import rejected_ids
from commonspace.pipeline.run.steps import (
    encode_and_validate,
    ensure_published,
    finish,
    replanning_on_conflict,
)
from commonspace.pipeline.source.files import find_files
from commonspace.pipeline.source.records import EVERYTHING, Scope
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Run, Work

STAGES = (
    "look", "pull", "plan", "encode", "validate", "publish", "promote", "approved", "report",
)  # fmt: skip

Answer = dict[str, Any]
"""What the stage's task reads: JSON."""


def run_stage(
    stage: str,
    collection: Collection,
    store: Store,
    run_id: str,
    *,
    space: str | None = None,
    scope: Scope = EVERYTHING,
    shards: Sequence[int] = (),
    only_rejects: bool = False,
    force: bool = False,
    delete_missing: bool = False,
) -> Answer:
    """Execute one of STAGES; safe to repeat, alone or beside a twin.

    Where another run has published meanwhile, the stage plans again and repeats the stages before
    it; finished shards are used again, not encoded again.

    Args:
        stage: `look` and `pull` are of the whole run, the others of one space.
        collection: the run's.
        store: the warehouse.
        run_id: the same for all stages of the run.
        space: `space` or `space/vN`.
        scope: for `look` and `pull`; the stages after them find it in the run's folder.
        shards: for `encode`: which of the plan's shards, by position.
        only_rejects: for `pull`: try again what was rejected.
        force: for `pull`: encode again what is published.
        delete_missing: for `pull`: delete rows whose file is gone, empty, cut or unreadable.

    Returns:
        counts and numbers. Of `pull` and `plan`, `empty` says why there is nothing to do.

    Raises:
        CommonspaceError: what the stage raises.
    """
    run = Run(
        run_id, collection, store, scope, only_rejects, force=force, delete_missing=delete_missing
    )
    if stage == "look":
        return {"there": _is_there(run)}
    if stage == "pull":
        return _pull(run)
    if stage not in STAGES or space is None:
        raise UserMistake(f"there is no stage {stage!r} of a space (known: {', '.join(STAGES)})")
    work = Work(run.as_started(), collection.resolve_space(space))
    try:
        return _run_space_stage(stage, work, shards)
    except GateRefused as error:
        record_refusal(work, error)
        raise


def _run_space_stage(stage: str, work: Work, shards: Sequence[int]) -> Answer:
    match stage:
        case "plan":
            return _plan(work)
        case "encode":
            return _encode(work, shards)
        case "validate":
            return replanning_on_conflict(work, encode_and_validate, _log).ledger.to_json()
        case "publish":
            return _publish(work)
        case "promote":
            return _promote(work)
        case "approved":
            promote_approved(work)
            announcement = Announcement.of(work, promoted=True)
            return {**announcement.to_json(), "waits": False, "held": None}
        case _:
            report = report_stage(work)
            return {**report.to_json(), "markdown": report_text(report)}


def _is_there(run: Run) -> bool:
    """Whether the source has a file within the run's scope."""
    try:
        return bool(find_files(run.collection.source_uri, run.scope))
    except SourceNotFound:
        return False


def _pull(run: Run) -> Answer:
    """Pull the run's scope, unless it is empty.

    A partition that has rows but no file any more is an error, unless the run deletes such rows.
    """
    remove_old_runs(run)
    if run.retry_rejects:
        run = replace(run, scope=rejected_ids(run.store, run.collection, [*run.collection.space]))
        if not run.scope.ids:
            return {"run": run.id, "empty": "there are no rejects with an id: nothing to try again"}
    try:
        pulled = pull_stage(run)
    except PartitionNotFound as error:
        rows = _published_rows_of_partition(run)
        if not rows:
            return {"run": run.id, "empty": f"{error.item}: {error.what}"}
        raise SourceNotFound(
            f"{error.what}, of which {rows:,} rows are published",
            item=error.item,
            do="Restore the file. To remove the rows, run the partition with --delete-missing; in "
            "a DAG, set the param `delete_missing`. `max_deleted_share` in [gates] then decides "
            "whether so many may go.",
        ) from error
    partition = run.scope.partition
    if partition is not None and not pulled.records and not _published_rows_of_partition(run):
        return {**pulled.pulled(), "empty": f"partition {partition} holds no records"}
    return pulled.pulled()


def _published_rows_of_partition(run: Run) -> int:
    """How many rows of the run's partition are published, in all its spaces."""
    rows = 0
    for space in run.collection.space:
        name = SpaceName(run.collection.name, space.name, space.version)
        pointer = load_current(run.store, name)
        parts = load_release(run.store, name, pointer.release).parts if pointer else ()
        rows += sum(part.rows for part in parts if part.partition == run.scope.partition)
    return rows


def _plan(work: Work) -> Answer:
    try:
        plan = plan_stage(work)
    except NothingOffered as error:
        if work.run.scope.partition is None:
            raise
        return {"shards": 0, "empty": error.what}
    force = work.run.force
    text = plan_text(str(work.name), plan, force=force)
    return {**plan.to_json(), "shards": len(plan.shards), "force": force, "text": text}


def _encode(work: Work, shards: Sequence[int]) -> Answer:
    if is_stale(work):  # `validate` will plan again
        return {"encoded": 0}
    keys = work.read_note(PlanSummary).shards
    chosen = [keys[number] for number in shards if number < len(keys)]  # a new plan may have fewer
    return {"encoded": len(encode_stage(work, chosen))}


def _publish(work: Work) -> Answer:
    replanning_on_conflict(work, ensure_published, _log)
    announcement = Announcement.of(work, promoted=False)
    pointer = load_current(work.run.store, work.name)
    is_served = pointer is not None and pointer.release == announcement.release
    hold = str(pointer.hold) if pointer and pointer.hold else None
    text = release_text(announcement, hold)
    return {**announcement.to_json(), "held": hold, "waits": not is_served, "text": text}


def _promote(work: Work) -> Answer:
    promote = work.run.collection.promotes(work.space)
    result = replanning_on_conflict(
        work, lambda planned: finish(planned, promote=promote, log=_log), _log
    )
    announcement = Announcement.of(work, promoted=result.moved)
    return {**announcement.to_json(), "waits": result.waits, "held": result.held or None}


def _log(message: str) -> None:
    sys.stderr.write(f"commonspace | {message}\n")
