"""pipeline/validate/stage.py"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Encoder
from commonspace.pipeline.canary.check import canary_gate
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.encode.stage import note_canary_check
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.spot import spot_gate
from commonspace.pipeline.plan.plan_file import read_plan
from commonspace.pipeline.plan.rejects import carried_rejects
from commonspace.pipeline.pull.items import read_pull_rejects
from commonspace.pipeline.release.parts import published_rows
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.golden import golden_recall
from commonspace.pipeline.validate.validate import count_run, validate
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.work import Work, canary_notes, encode_notes, spot_notes, timer


def validate_stage(work: Work) -> Verdict:
    """Balance the ledger and hold the gates. Raises GateRefused; the verdict is kept either way."""
    planned, store = work.read_note("plan.json"), work.run.store
    published = published_rows(store, work.base, work.contract)
    scope = work.run.scope
    touched = published.filter(_in_scope(published, scope, work.contract)).num_rows
    carried = carried_rejects(work)
    shards = work.shard_files
    with timer() as seconds:
        found = count_run(
            read_plan(work),
            planned["offered"],
            planned["absent"],
            read_pull_rejects(work),
            published,
            shards,
            work.contract,
            store,
        )
        verdict = validate(
            found,
            work.base,
            shards,
            work.contract,
            work.run.collection.gates,
            store,
            published_in_scope=published.num_rows if scope.ids is not None else touched,
            untouched=published.num_rows - touched + carried,
            carried=carried,
            golden=golden_recall(work, found.coming, published, lambda: _loaded(work)),
            measured=_measured(work),
        )
    work.write_note("verdict.json", {**verdict.to_json(), "seconds": seconds()})
    verdict.enforce(str(work.name))
    return verdict


def _loaded(work: Work) -> Encoder:
    encoder = catalog.load(work.run.collection.encoder_reference(work.space))
    note_canary_check(work, encoder)
    return encoder


def _measured(work: Work) -> tuple[Gate, Gate]:
    """The gates over what the processes that had an encoder have noted."""
    flights = [work.read_note(file) for file in canary_notes(work)]
    encodes = [work.read_note(file) for file in encode_notes(work)]
    spots = [work.read_note(file) for file in spot_notes(work)]
    spots += [note["spots"] for note in encodes if "spots" in note]
    return (
        spot_gate(spots, len(encodes), work.spec),
        canary_gate(flights, len(encodes), work.spec),
    )


def _in_scope(published: pa.Table, scope: Scope, contract: Contract) -> pa.Array:
    if scope.ids is not None:
        items = published[contract.item_column]
        return pc.is_in(items, value_set=pa.array(scope.ids, pa.string()))
    if scope.partition is not None:
        return pc.fill_null(pc.equal(published["partition"], scope.partition), False)
    return pa.array([True] * published.num_rows, pa.bool_())
