"""The steps of a run on one space, taken in a row, or by stages that find a plan out of date.

Each does what is missing before it: finished work is used again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished
from commonspace.pipeline.plan.stage import is_stale, plan_stage
from commonspace.pipeline.publish.notes import PublishNote
from commonspace.pipeline.publish.promote import promote_stage, recover_promotion
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Work

ATTEMPTS = 5
"""How often a space is planned before a run gives way to the runs that publish meanwhile."""

Log = Callable[[str], None]
"""Takes a line for the person who watches the run."""
Result = TypeVar("Result")


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


def replanning_on_conflict(work: Work, act: Callable[[Work], Result], log: Log) -> Result:
    """The result of `act`, called again after a new plan whenever another run has published.

    Raises:
        CommonspaceError: what `act` raises for any other reason, or at the last attempt.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return act(work)
        except (Conflict, ContractBroken, NotPublished) as error:
            # Files of a release that is no longer served may have been removed.
            if not isinstance(error, Conflict) and not is_stale(work):
                raise
            log(f"{work.name}: {error.what}; planning again")
            work = Work(work.run, work.space)
            plan_stage(work, again=True)
    return act(work)


def encode_and_validate(work: Work) -> Verdict:
    """Encode those of the plan's shards that no run has finished yet, then check the gates.

    Raises:
        Conflict: the plan is out of date; encoding for it would be in vain.
        GateRefused: a gate refuses what was encoded.
    """
    if is_stale(work):
        raise _outdated(work)
    encode_stage(work, work.read_note(PlanSummary).shards)
    return validate_stage(work)


def ensure_published(work: Work) -> Release:
    """The plan's release; what is missing for it is encoded, validated and published."""
    if work.find_note(Verdict) is None:
        encode_and_validate(work)
    return publish_stage(work)


def finish(work: Work, *, promote: bool, log: Log) -> RunResult:
    """Promote the plan's release, which is published first where that is missing.

    It is left as a candidate where `promote` is false, or the space is held, which is logged.

    Raises:
        Conflict: the plan is out of date.
    """
    published = work.find_note(PublishNote)
    number = published.release if published else ensure_published(work).number
    pointer = load_current(work.run.store, work.name)
    if promote and not (pointer and pointer.hold):
        return RunResult(number, moved=_promote(work, number))
    return _leave_candidate(work, number, pointer, log)


def _promote(work: Work, number: int) -> bool:
    moved = promote_stage(work, number)
    for key in work.read_note(PlanSummary).shards:  # the release holds them now
        work.run.store.delete(work.shared_shard(key))
    return moved


def _leave_candidate(work: Work, number: int, pointer: Current | None, log: Log) -> RunResult:
    """Promote nothing; LanceDB goes back to what is served if a promotion was interrupted."""
    recover_promotion(work.run.store, work.name, work.contract)
    served = pointer.release if pointer else 0
    if number != served and is_stale(work):  # nobody could promote the candidate
        raise _outdated(work)
    held = pointer.hold.describe(str(work.name), served, number) if pointer and pointer.hold else ""
    if held:
        log(held)
    return RunResult(number, waits=number != served, held=held)


def _outdated(work: Work) -> Conflict:
    return Conflict("another run was promoted since the plan was made", item=str(work.name))
