"""One stage of a run in a process of its own: what a scheduler's task executes.

The answers are small: counts and numbers, never rows. What a stage needs of the ones before
it stands in the run's folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pipeline.config import Collection
from pipeline.errors import UserMistake
from pipeline.records import Scope
from pipeline.releases import current
from pipeline.report import report_stage
from pipeline.run import (
    forget_old_runs,
    left_waiting,
    planning_again,
    promoted,
    published,
    validated,
)
from pipeline.stages import (
    encode_stage,
    is_stale,
    plan_stage,
    pull_stage,
)
from pipeline.store import Store
from pipeline.workspace import Run, Work

STAGES = ("pull", "plan", "encode", "validate", "publish", "promote", "report")


def run_stage(
    stage: str,
    collection: Collection,
    store: Store,
    run_id: str,
    space: str | None,
    partition: str | None,
    shards: Sequence[int],
) -> dict[str, Any]:
    """Execute one of STAGES; safe to repeat, alone or beside a twin. Raises CommonspaceError.

    Where another run has published meanwhile, the stage plans again and does what comes
    before it anew; finished shards are found, not encoded again.
    """
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
            if is_stale(work):  # `validate` will plan again
                return {"encoded": 0}
            keys = work.noted("plan.json")["shards"]
            return {"encoded": len(encode_stage(work, [keys[n] for n in shards]))}
        case "validate":
            return planning_again(work, validated, _tell).ledger.to_json()
        case "publish":
            return {"release": planning_again(work, published, _tell).number}
        case "promote":
            if not work.run.collection.promotes(work.space):
                waiting = planning_again(work, left_waiting, _tell)
                return {**_announcement(work, promoted=False), "waits": not _serves(work, waiting)}
            moved = planning_again(work, promoted, _tell)
            return _announcement(work, promoted=moved)
    return report_stage(work)


def _serves(work: Work, number: int) -> bool:
    pointer = current(work.run.store, work.name)
    return pointer is not None and pointer.release == number


def _tell(message: str) -> None:
    sys.stderr.write(f"commonspace | {message}\n")


def _announcement(work: Work, *, promoted: bool) -> dict[str, Any]:
    """What the consumers of a space are told about its new release."""
    number = work.noted("publish.json")["release"]
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
