"""One stage of a run in a process of its own: what a scheduler's task executes.

The answers are small: counts and numbers, never rows. What a stage needs of the ones before
it stands in the run's folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.layout import release_key
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
from commonspace.pipeline.run.markdown import plan_text, release_text, report_text
from commonspace.pipeline.run.report import refusal, report_stage
from commonspace.pipeline.run.run import (
    encode_and_validate,
    ensure_published,
    finish,
    rejected_ids,
    replanning_on_conflict,
)
from commonspace.pipeline.source.files import find_files
from commonspace.pipeline.source.records import EVERYTHING, Scope
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from commonspace.pipeline.workspace.work import Run, Work

STAGES = (
    "look", "pull", "plan", "encode", "validate", "publish", "promote", "approved", "report",
)  # fmt: skip


def run_stage(
    stage: str,
    collection: Collection,
    store: Store,
    run_id: str,
    space: str | None,
    scope: Scope | None,
    shards: Sequence[int],
    *,
    only_rejects: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Execute one of STAGES; safe to repeat, alone or beside a twin. Raises CommonspaceError.

    scope, only_rejects, force: what `pull` takes; the stages after it find it in the run's folder.
    Where there is nothing to do for the run, `pull`'s answer says why in `empty`, and where there
    is nothing for a space, `plan`'s does.

    Where another run has published meanwhile, the stage plans again and does what comes
    before it anew; finished shards are found, not encoded again.
    """
    run = Run(run_id, collection, store, scope or EVERYTHING, only_rejects, force=force)
    if stage == "look":
        return {"there": _is_there(run)}
    if stage == "pull":
        return _pull(run)
    if stage not in STAGES or space is None:
        raise UserMistake(f"there is no stage {stage!r} of a space (known: {', '.join(STAGES)})")
    noted = run.read_note()
    asked = {"retry_rejects": noted["retry_rejects"], "force": noted.get("force", False)}
    run = Run(run_id, collection, store, run.scope_of_pull, **asked)
    work = Work(run, collection.resolve_space(space))
    try:
        return _space_stage(stage, work, shards)
    except GateRefused as error:
        refusal(work, error)
        raise


def _space_stage(stage: str, work: Work, shards: Sequence[int]) -> dict[str, Any]:
    match stage:
        case "plan":
            return _plan(work)
        case "encode":
            if is_stale(work):  # `validate` will plan again
                return {"encoded": 0}
            keys = work.read_note("plan.json")["shards"]
            mine = [keys[n] for n in shards if n < len(keys)]  # a new plan may have fewer
            return {"encoded": len(encode_stage(work, mine))}
        case "validate":
            return replanning_on_conflict(work, encode_and_validate, _log).ledger.to_json()
        case "publish":
            replanning_on_conflict(work, ensure_published, _log)
            told = _announcement(work, promoted=False)
            pointer = load_current(work.run.store, work.name)
            serves = pointer is not None and pointer.release == told["release"]
            told["held"] = str(pointer.hold) if pointer and pointer.hold else None
            return {**told, "waits": not serves, "text": release_text(told)}
        case "promote":
            wanted = work.run.collection.promotes(work.space)
            done = replanning_on_conflict(work, lambda one: finish(one, wanted, _log), _log)
            told = _announcement(work, promoted=done.moved)
            return {**told, "waits": done.waits, "held": done.held or None}
        case "approved":
            promote_approved(work)
            return {**_announcement(work, promoted=True), "waits": False, "held": None}
    told = report_stage(work)
    return {**told, "markdown": report_text(told)}


def _is_there(run: Run) -> bool:
    """Whether the source has a file within the run's scope."""
    try:
        return bool(find_files(run.collection.source_uri, run.scope))
    except SourceNotFound:
        return False


def _pull(run: Run) -> dict[str, Any]:
    """Pull the run's scope, unless it is empty.

    Raises SourceNotFound for a partition that has rows but no file any more: rows are not
    deleted for a file that is not there.
    """
    remove_old_runs(run)
    if run.retry_rejects:
        spaces = list(run.collection.space)
        run = replace(run, scope=rejected_ids(run.store, run.collection, spaces))
        if not run.scope.ids:
            return {"run": run.id, "empty": "there are no rejects with an id: nothing to try again"}
    try:
        pulled = pull_stage(run)
    except PartitionNotFound as error:
        rows = _rows_of_partition(run)
        if not rows:
            return {"run": run.id, "empty": f"{error.item}: {error.what}"}
        raise SourceNotFound(
            f"{error.what}, of which {rows:,} rows are published",
            item=error.item,
            do="Put the file back; or an empty one in its place, and `max_deleted_share` decides "
            "whether the rows go.",
        ) from error
    nothing = run.scope.partition is not None and not pulled["records"]
    if nothing and not _rows_of_partition(run):
        return {**pulled, "empty": f"partition {run.scope.partition} holds no records"}
    return pulled


def _rows_of_partition(run: Run) -> int:
    """Published rows of the run's partition, in all its spaces."""
    rows = 0
    for space in run.collection.space:
        name = SpaceName(run.collection.name, space.name, space.version)
        pointer = load_current(run.store, name)
        parts = load_release(run.store, name, pointer.release).parts if pointer else ()
        rows += sum(part.rows for part in parts if part.partition == run.scope.partition)
    return rows


def _plan(work: Work) -> dict[str, Any]:
    try:
        plan = plan_stage(work)
    except NothingOffered as error:
        if work.run.scope.partition is None:
            raise
        return {"shards": 0, "empty": error.what}
    told = {**plan, "shards": len(plan["shards"]), "force": work.run.force}
    return {**told, "text": plan_text(str(work.name), told)}


def _log(message: str) -> None:
    sys.stderr.write(f"commonspace | {message}\n")


def _announcement(work: Work, *, promoted: bool) -> dict[str, Any]:
    """What the consumers of a space are told about its new release."""
    number = work.read_note("publish.json")["release"]
    verdict = work.read_note("verdict.json")
    return {
        "space": str(work.name),
        "promoted": promoted,
        "release": number,
        "rows": load_release(work.run.store, work.name, number).rows,
        "partition": work.run.scope.partition,
        "fingerprint": work.spec.fingerprint,
        "encoder": work.spec.label,
        "ledger": verdict["ledger"],
        "manifest": release_key(work.name, number),
    }
