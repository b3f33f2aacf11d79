"""Validate: a run's items are counted, and its gates judge the release to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.encode.reuse import encoded_instead
from commonspace.pipeline.gates.bad_cells import bad_cells_gate
from commonspace.pipeline.gates.contents import VectorGate
from commonspace.pipeline.gates.drift import Drift
from commonspace.pipeline.gates.duplicates import DuplicateVectors
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.golden_recall import GoldenRecall
from commonspace.pipeline.gates.ledger import ScopeCounts, account_gates
from commonspace.pipeline.gates.unknown_texts import UnknownTexts
from commonspace.pipeline.gates.vectors import UnusableVectors
from commonspace.pipeline.plan.offer.offer import read_offer_rejects
from commonspace.pipeline.plan.offer.transient import cut_contents, has_reason, transient_reasons
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.plan.plan_file import read_plan
from commonspace.pipeline.pull.rejects import reject_places
from commonspace.pipeline.release.rejects import SHOWN_REJECTS, describe_rejects
from commonspace.pipeline.source.notices import NoticeCount, NoticeKind
from commonspace.pipeline.validate.account import Accounting, FailedContents, count_outcomes
from commonspace.pipeline.validate.next_release import (
    NextRelease,
    next_release_contents,
    next_release_rows,
)
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary, RunNote
from commonspace.pipeline.workspace.shards import read_shard, shard_schema
from commonspace.pipeline.workspace.work import Work

_FAILURE_COLUMNS = ("id", "content_digest", "reason", "message", "retryable")


@dataclass(frozen=True, kw_only=True)
class RunCounts:
    """What a run amounts to before its vectors are looked at.

    rejects: What it rejected, in words.
    notices: Which published rows stay although their content cannot be read.
    """

    accounting: Accounting
    next_release: NextRelease
    rejects: tuple[str, ...]
    notices: tuple[NoticeCount, ...]


def count_run(work: Work, published: pa.Table, shards: Sequence[str]) -> RunCounts:
    """Count every item's state.

    Args:
        work: it has been planned and encoded.
        published: `id`, `content_digest` of the release that the plan was made from, part by
            part.
        shards: the files of the plan's finished shards.
    """
    summary, plan = work.read_note(PlanSummary), read_plan(work).encoding(encoded_instead(work))
    pull_rejects = read_offer_rejects(work)
    failures = _read_failures(work, shards)
    transient = has_reason(failures, transient_reasons(work))
    permanent = failures.filter(pc.invert(pc.or_(failures["retryable"], transient)))
    failed = FailedContents(
        all=failures["content_digest"].combine_chunks(),
        permanent=permanent["content_digest"].combine_chunks(),
    )
    accounting = count_outcomes(
        plan,
        failed,
        offered=summary.offered,
        absent=summary.absent,
        pull_rejects=pull_rejects.num_rows,
        published_ids=published["id"].combine_chunks(),
    )
    failed_rows = failures.select(["id", "reason", "message"]).to_pylist()
    places = reject_places(work, [row["id"] for row in failed_rows[:SHOWN_REJECTS]])
    rejects = [
        *pull_rejects.to_pylist(),
        *({**row, "place": places.get(row["id"])} for row in failed_rows),
    ]
    return RunCounts(
        accounting=accounting,
        next_release=next_release_rows(plan, published, failed.all, accounting.removed_ids),
        rejects=tuple(describe_rejects(rejects)),
        notices=_cut_contents(plan, failures.filter(transient), published["id"]),
    )


def validate(
    work: Work,
    counts: RunCounts,
    shards: Sequence[str],
    *,
    scope_counts: ScopeCounts,
    golden: GoldenRecall | None,
    measured: Sequence[Gate],
) -> Verdict:
    """Ask every gate.

    Args:
        work: the run's work on the space.
        counts: what `count_run` found.
        shards: the files of the plan's finished shards.
        scope_counts: what the release before holds, within and outside the run's scope.
        golden: None where the space has no golden queries, or nothing changes.
        measured: the gates over what was measured where an encoder was loaded.
    """
    limits, ledger = work.run.collection.gates, counts.accounting.ledger
    vector_gates: list[VectorGate] = [
        UnusableVectors(work.spec),
        DuplicateVectors(limits.max_duplicate_vectors),
        *([UnknownTexts(limits.max_unknown_share)] if work.spec.modality == "text" else []),
        Drift(limits.max_drift),
    ]
    # Without a new vector, they have nothing to say, and no part need be read for them.
    needed = [*(vector_gates if shards else ()), *([golden] if golden else ())]
    _show_next_release(work, counts.next_release, shards, needed)
    balance, reject_share, deleted_share = account_gates(ledger, scope_counts, limits)
    unusable, *distributions = (gate.result() for gate in vector_gates)
    gates = (
        balance,
        unusable,
        reject_share,
        deleted_share,
        _bad_cells(work.run.read_note(), scope_counts, limits),
        *distributions,
        golden.result() if golden else _no_golden(limits.min_golden_recall),
        *measured,
    )
    return Verdict(ledger=ledger, gates=gates, rejects=counts.rejects, notices=counts.notices)


def _cut_contents(
    plan: Plan, failures: pa.Table, published: pa.ChunkedArray
) -> tuple[NoticeCount, ...]:
    """The published rows that stay although their content, with one of the failures, is cut."""
    planned = plan.rows("encode", "reuse")
    is_cut = pc.is_in(planned["digest"], value_set=failures["content_digest"].combine_chunks())
    ids = planned.filter(is_cut)["id"]
    return cut_contents(ids.filter(pc.is_in(ids, value_set=published.combine_chunks())))


def _bad_cells(note: RunNote, counts: ScopeCounts, limits: GatesSection) -> Gate:
    """Of a list of ids, all may be bad: a share of them would refuse each such run."""
    items = note.items + (0 if note.scope.ids is None else counts.untouched)
    found = [str(notice) for notice in note.notices if notice.kind is NoticeKind.BAD_CELL]
    return bad_cells_gate(note.bad_cells, items, limits, found)


def _read_failures(work: Work, shards: Sequence[str]) -> pa.Table:
    """The rows without a vector, of all shards: `_FAILURE_COLUMNS`."""
    failures = [shard_schema(work.spec).empty_table().select(_FAILURE_COLUMNS)]
    for shard in shards:
        rows = read_shard(work.run.store, shard, work.spec, _FAILURE_COLUMNS)
        failures.append(rows.filter(pc.is_valid(rows["reason"])))
    return pa.concat_tables(failures)


def _show_next_release(
    work: Work, next_release: NextRelease, shards: Sequence[str], gates: Sequence[VectorGate]
) -> None:
    """Let the gates see every vector of the release to come, if there is any gate."""
    if not gates:
        return
    for contents in next_release_contents(
        work.run.store, work.contract, work.base, shards, next_release
    ):
        for gate in gates:
            gate.update(contents)


def _no_golden(limit: float) -> Gate:
    message = "the space names no golden queries, or this run changes no row"
    return Gate("golden", True, None, limit, message)
