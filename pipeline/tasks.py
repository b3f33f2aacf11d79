"""One stage of a run in a process of its own: what a scheduler's task executes.

The answers are small: counts and numbers, never rows. What a stage needs of the ones before
it stands in the run's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import Collection
from pipeline.errors import UserMistake
from pipeline.records import Scope
from pipeline.report import report_stage
from pipeline.run import finish, forget_old_runs
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

STAGES = ("pull", "plan", "encode", "validate", "publish", "promote", "report")


def run_stage(
    stage: str,
    collection: Collection,
    store: LocalStore,
    run_id: str,
    space: str | None,
    partition: str | None,
    shards: Sequence[int],
) -> dict[str, Any]:
    """Execute one of STAGES; safe to repeat. Raises CommonspaceError."""
    run = Run(run_id, collection, store, Scope(partition=partition))
    if stage == "pull":
        forget_old_runs(run)
        return pull_stage(run)
    if stage not in STAGES or space is None:
        raise UserMistake(f"there is no stage {stage!r} of a space (known: {', '.join(STAGES)})")
    name, _, version = space.partition("/v")
    run = Run(run_id, collection, store, run.noted_scope, run.noted()["retry_rejects"])
    work = Work(run, collection.find_space(name, int(version)))
    return _space_stage(stage, work, shards)


def _space_stage(stage: str, work: Work, shards: Sequence[int]) -> dict[str, Any]:
    match stage:
        case "plan":
            plan = plan_stage(work)
            return {**plan, "shards": len(plan["shards"])}
        case "encode":
            keys = work.noted("plan.json")["shards"]
            return {"encoded": len(encode_stage(work, [keys[n] for n in shards]))}
        case "validate":
            return validate_stage(work).ledger.to_json()
        case "publish":
            return {"release": publish_stage(work).number}
        case "promote":
            number = work.noted("publish.json")["release"]
            promoted = promote_stage(work, number)
            finish(work)
            return _announcement(work, number, promoted=promoted)
    return report_stage(work)


def _announcement(work: Work, number: int, *, promoted: bool) -> dict[str, Any]:
    """What the consumers of a space are told about its new release."""
    verdict = work.noted("verdict.json")
    return {
        "space": str(work.name),
        "promoted": promoted,
        "release": number,
        "fingerprint": work.spec.fingerprint,
        "encoder": work.spec.label,
        "ledger": verdict["ledger"],
        "manifest": work.name.key(f"releases/{number:06}.json"),
    }
