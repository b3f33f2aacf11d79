"""The stages of a run, each from files to files, each safe to run again.

`run` calls them one after the other; Airflow calls each in a process of its own.
"""

from __future__ import annotations

from dataclasses import replace

from commonspace.pipeline.canary.reference import publish_canary
from commonspace.pipeline.contract.contract import require_same_contract
from commonspace.pipeline.contract.layout import spec_key
from commonspace.pipeline.errors import Conflict
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.ledger import Ledger
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.plan.plan_file import read_plan
from commonspace.pipeline.plan.rejects import release_reject_rows
from commonspace.pipeline.publish.collect import collect
from commonspace.pipeline.publish.draft import about, draft_release, state_of
from commonspace.pipeline.publish.parts import Change, write_parts
from commonspace.pipeline.publish.rejects import write_rejects
from commonspace.pipeline.pull.items import read_offered_items
from commonspace.pipeline.release.commit import commit
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import published_rows
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.work import Work, timer


def publish_stage(work: Work) -> Release:
    """Write the next release, as a candidate; the base itself where nothing changed."""
    verdict = _verdict(work)
    verdict.enforce(str(work.name))
    store, base = work.run.store, work.base
    require_same_contract(store, work.name, work.contract)
    with timer() as seconds:
        plan = read_plan(work)
        own = [*work.contract.metadata, "partition", "source_uri", "row_digest"]
        items, _ = read_offered_items(work, own)
        collected = collect(store, work.contract, plan, items, base, work.shard_files)
        _check_verdict(work, verdict, plan, len(collected.failures))
        lasting = [item for item, why in collected.failures.items() if not why.retryable]
        removed = [*plan.of("delete", "reject")["id"].to_pylist(), *lasting]
        published, change = published_rows(store, base, work.contract), Change(collected, removed)
        parts = write_parts(
            store, work.name, work.contract, base.parts if base else (), published, change
        )
        old = read_rejects(store, base)
        rejects = write_rejects(
            store, work.name, release_reject_rows(work, plan, collected.failures, old), old
        )
        state = state_of(parts, rejects, about(work))
        release = base if base and base.state == state else None
        if release is None:
            store.put_if_absent(spec_key(work.name), work.contract.to_bytes())
            require_same_contract(store, work.name, work.contract)
            canary = base.canary if base else None
            canary = canary or publish_canary(store, work.name, work.contract)
            draft = draft_release(work, verdict, parts, rejects, state, canary)
            draft = replace(draft, changes=change.counts(published))
            release = commit(store, work.name, draft)
    work.write_note("publish.json", {"release": release.number, "seconds": seconds()})
    return release


def _check_verdict(work: Work, verdict: Verdict, plan: Plan, failed: int) -> None:
    """What is about to be published must be what the gates have seen."""
    rejected = failed + plan.count("reject") + work.read_note("plan.json")["rejected_by_pull"]
    if rejected != verdict.ledger.rejected:
        raise Conflict(f"{verdict.ledger.rejected} rejects were validated, {rejected} are there")


def _verdict(work: Work) -> Verdict:
    noted = work.read_note("verdict.json")
    gates = tuple(Gate(**gate) for gate in noted["gates"])
    return Verdict(Ledger(**noted["ledger"]), gates, tuple(noted["rejects"]))
