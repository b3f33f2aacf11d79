"""The validate stage: the last one before anything of a run can become visible."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Encoder
from commonspace.pipeline.canary.check import CanaryNote, canary_gate
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.encode.notes import EncodeNote
from commonspace.pipeline.encode.stage import load_encoder, note_canary_check
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.ledger import ScopeCounts
from commonspace.pipeline.gates.spot import SpotCheckResult, spot_gate
from commonspace.pipeline.pull.rejects import is_in_scope
from commonspace.pipeline.release.parts import published_rows
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.golden_gate import golden_recall
from commonspace.pipeline.validate.validate import count_run, validate
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Work, timer


def validate_stage(work: Work) -> Verdict:
    """Balance the ledger and ask the gates; the verdict is stored either way.

    Raises:
        GateRefused: a gate does not pass.
        Conflict: another run has published, and removed, a finished shard.
    """
    published = published_rows(work.run.store, work.base, work.contract)
    scope_counts = _count_scope(work, published)
    shards = work.shard_files
    with timer() as seconds:
        counts = count_run(work, published, shards)
        verdict = validate(
            work,
            counts,
            shards,
            scope_counts=scope_counts,
            golden=golden_recall(work, counts.next_release, published, lambda: _load_encoder(work)),
            measured=_measured_gates(work),
        )
    verdict = replace(verdict, seconds=seconds())
    work.write_note(verdict)
    verdict.enforce(str(work.name))
    return verdict


def _count_scope(work: Work, published: pa.Table) -> ScopeCounts:
    """What the release before holds, within and outside the run's scope."""
    scope, rejects = work.run.scope, read_rejects(work.run.store, work.base).to_pylist()
    carried = sum(not is_in_scope(row, work) for row in rejects)
    touched = published.filter(_is_in_scope(published, scope, work.contract)).num_rows
    return ScopeCounts(
        # Of a list of ids, nearly every row may go: a share of them would refuse each such run.
        deletable=published.num_rows if scope.ids is not None else touched,
        untouched=published.num_rows - touched + carried + work.read_note(PlanSummary).staying,
        carried=carried,
    )


def _is_in_scope(published: pa.Table, scope: Scope, contract: Contract) -> pa.Array:
    if scope.ids is not None:
        items = published[contract.item_column]
        return pc.is_in(items, value_set=pa.array(scope.ids, pa.string()))
    if scope.partition is not None:
        return pc.fill_null(pc.equal(published["partition"], scope.partition), False)
    return pa.array([True] * published.num_rows, pa.bool_())


def _load_encoder(work: Work) -> Encoder:
    """The space's encoder, its canary checked."""
    encoder = load_encoder(work)
    note_canary_check(work, encoder)
    return encoder


def _measured_gates(work: Work) -> tuple[Gate, Gate]:
    """The gates over what the processes that had an encoder have left."""
    canaries, encodes = work.read_notes(CanaryNote), work.read_notes(EncodeNote)
    spots = work.read_notes(SpotCheckResult)
    spots += [note.spots for note in encodes if note.spots is not None]
    return (
        spot_gate(spots, len(encodes), work.spec),
        canary_gate(canaries, len(encodes), work.spec),
    )
