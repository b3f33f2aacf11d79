"""The stages of a run, each from files to files, each safe to run again.

`run` calls them one after the other; Airflow calls each in a process of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encoders import catalog
from encoders.protocol import Encoder
from pipeline.canary import publish_canary
from pipeline.collect import collect
from pipeline.commit import commit
from pipeline.contract import Contract, agree
from pipeline.errors import Conflict, GateRefused, NothingOffered
from pipeline.flight import canary_gate, prove
from pipeline.gates import spot_gate
from pipeline.golden_queries import check_golden, golden_recall, keep_golden
from pipeline.memory import give_back, peak_rss
from pipeline.parquet import table_bytes
from pipeline.pieces import Pieces
from pipeline.plan import make_plan
from pipeline.publish import Change, state_of, write_parts, write_rejects
from pipeline.pull import pull
from pipeline.records import Gate, Ledger, Plan, Release, Scope
from pipeline.rejects import (
    carried_rejects,
    known_rejects,
    lost_for_good,
    release_reject_rows,
    spared,
)
from pipeline.releases import (
    current,
    load_release,
    refuse_lost,
    release_rejects,
    release_rows,
    whole,
)
from pipeline.report import about, draft_release
from pipeline.retire import refuse_retired
from pipeline.source import open_source
from pipeline.spot_check import check_made, check_published, sample
from pipeline.store import Store
from pipeline.validate import Verdict, settled, told_rejects, validate
from pipeline.workspace import (
    Run,
    Work,
    canary_notes,
    encode_notes,
    located,
    offered,
    plan_groups,
    pull_rejects,
    read_plan,
    spot_notes,
    timer,
)

_ENCODED = ("shards/", "unchecked-", "encode-", "canary-", "spot-")
"""Files of a work: what it has encoded, what of that waits to be compared, what is known of it."""


def pull_stage(run: Run) -> dict[str, Any]:
    """Read the source's scope into the run's folder."""
    source = open_source(run.collection)
    with run.progress(f"{run.collection.name}: pull") as progress, timer() as seconds:
        found = pull(
            run.collection, source, run.store, run.folder, run.id, run.scope, progress
        )  # fmt: skip
    result = {
        "run": run.id,
        "records": found.records,
        "items": found.items,
        "rejected": found.rejected,
        "seconds": seconds(),
    }
    run.note(result)
    return result


def plan_stage(work: Work, *, again: bool = False) -> dict[str, Any]:
    """Decide what the space is missing. Raises ContractBroken where its spec has changed.

    again: in the middle of a run, whose finished shards then stay, with what may pass in them.
    """
    run, store = work.run, work.run.store
    stays = tuple(map(work.path, _ENCODED)) if again else ()
    for stale in store.list(work.path("")):  # of an earlier try of the same run
        if not stale.startswith(stays):
            store.delete(stale)
    refuse_retired(store, work.name)
    agree(store, work.name, work.contract)
    with timer() as seconds:
        refuse_lost(store, work.name)
        pointer = current(store, work.name)
        base = load_release(store, work.name, pointer.release) if pointer else None
        published = _published(store, base, work.contract)
        items, absent = offered(work, ["row_digest"])
        plan = make_plan(
            items,
            published,
            known_rejects(store, base, retry=run.retry_rejects or run.force),
            spared=spared(pull_rejects(work)),
            lost=lost_for_good(pull_rejects(work)),
            scope=run.scope,
            shard_rows=run.collection.run.shard_rows,
            force=run.force,
            apart=run.apart,
        )
    rejected = pull_rejects(work).num_rows
    if base is None and not plan.table.num_rows:
        said = told_rejects(pull_rejects(work).to_pylist())
        raise NothingOffered(
            f"the source offers no items for space {work.space.name!r} "
            f"({rejected} rejected, {absent} without content)",
            item=run.collection.source_uri,
            do="\n  ".join(
                [*said, "Check the source's `uri` and the space's `fields` or `image`."]
            ),
        )
    check_golden(work, items, published)
    store.replace(work.path("plan.parquet"), table_bytes(plan.table))
    result = {
        "base": base.number if base else 0,
        "fingerprint": work.spec.fingerprint,
        "offered": items.num_rows + rejected,
        "absent": absent,
        "shards": plan.shards,
        "rejected_by_pull": rejected,
        **{a: plan.count(a) for a in ("encode", "reuse", "keep", "reject", "delete")},
        "estimated_seconds": _estimate(plan.count("encode"), base),
        "seconds": seconds(),
    }
    work.note("plan.json", result)
    return result


def _estimate(items: int, base: Release | None) -> float | None:
    """Seconds of encoding, by the pace of the release before; None where it is not known."""
    rate = base.items_per_second if base else None
    return 0.0 if not items else items / rate if rate else None


def is_stale(work: Work) -> bool:
    """Whether another release has been promoted since the plan was made."""
    pointer = current(work.run.store, work.name)
    return bool((pointer.release if pointer else 0) != work.noted("plan.json")["base"])


def encode_stage(work: Work, shards: Sequence[str], encoder: Encoder | None = None) -> list[str]:
    """Encode those of the plan's shards that no run has finished yet, and check them; their keys.

    Raises GateRefused, before the first one, where the canary shows that the encoder has changed
    or published rows no longer get their vectors; after one, where its own rows do not.
    """
    run = work.run
    todo = [key for key in shards if work.finished_shard(key) is None or work.has(_unchecked(key))]
    if not todo:
        return []
    encoder = encoder or catalog.load(run.collection.reference(work.space))
    _prove(work, encoder)
    seed, spot_rows = f"{run.id} {todo[0]}", run.collection.gates.spot_rows
    planned, kept = _planned(work, todo, spot_rows, seed)
    give_back()
    progress = run.progress(f"{work.name}: encode", planned.num_rows)
    pieces = Pieces(work, open_source(run.collection), encoder, progress)
    spots = check_published(pieces, kept)
    work.note(f"spot-{secrets.token_hex(4)}.json", spots.to_json())
    keep_golden(work, encoder)
    spotted = sample(planned["id"].combine_chunks(), spot_rows, seed)
    with progress:
        for number, key in enumerate(todo):
            rows, before = planned.filter(pc.equal(planned["shard"], key)), progress.done
            work.note(_unchecked(key), {})  # a process may die between making and checking
            with timer() as seconds:
                place = pieces.make(key, rows)
            items = progress.done - before  # less than the rows where pieces were there already
            took = {"items": items, "seconds": seconds(), "peak_rss_bytes": peak_rss()}
            give_back()
            note = {**took, "device": encoder.device, "engine": encoder.engine}
            rows = rows.filter(pc.is_in(rows["id"], value_set=spotted))
            spots = check_made(pieces, place, rows, todo[: number + 1])
            work.note(f"encode-{key}.json", {**note, "spots": spots.to_json()})
            run.store.delete(work.path(_unchecked(key)))
    return todo


def _unchecked(key: str) -> str:
    """The note that a shard may be finished and was not compared with itself yet."""
    return f"unchecked-{key}.json"


def _planned(
    work: Work, shards: Sequence[str], spot_rows: int, seed: str
) -> tuple[pa.Table, pa.Table]:
    """The rows to encode, with their `shard`, and a sample of those that the plan keeps."""
    ids, of_shard, keeps = [pa.nulls(0, pa.string())], [], [pa.nulls(0, pa.string())]
    for rows in plan_groups(work, ["id", "action", "shard"]):
        mine = rows.filter(pc.is_in(rows["shard"], value_set=pa.array(shards)))
        ids += mine["id"].chunks
        of_shard += mine["shard"].dictionary_encode().chunks
        keeps += rows.filter(pc.equal(rows["action"], "keep"))["id"].chunks
    kept = sample(pa.concat_arrays(keeps), spot_rows, seed)
    planned = located(work, pa.concat_arrays(ids))
    shard = pa.chunked_array(of_shard, pa.dictionary(pa.int32(), pa.string()))
    return planned.append_column("shard", shard), located(work, kept)


def _prove(work: Work, encoder: Encoder) -> None:
    pinned = work.base.canary if work.base else None
    store, run = work.run.store, work.run.id
    flight = prove(store, work.name, work.contract, encoder, run=run, pinned=pinned)
    work.note(f"canary-{secrets.token_hex(4)}.json", flight.to_json())
    if not flight.ok:
        raise GateRefused(
            f"gate canary refused: {flight.what} (device {flight.device})",
            item=str(work.name),
            retry=flight.retry,
            do=f"{flight.do}\n  Nothing was encoded; what was served before is served still.",
            gates=[flight.gate.to_json()],
        )


def validate_stage(work: Work) -> Verdict:
    """Balance the ledger and hold the gates. Raises GateRefused; the verdict is kept either way."""
    planned, store = work.noted("plan.json"), work.run.store
    published = _published(store, work.base, work.contract)
    scope = work.run.scope
    touched = published.filter(_in_scope(published, scope, work.contract)).num_rows
    carried = carried_rejects(work)
    shards = work.shard_files
    with timer() as seconds:
        found = settled(
            read_plan(work),
            planned["offered"],
            planned["absent"],
            pull_rejects(work),
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
    work.note("verdict.json", {**verdict.to_json(), "seconds": seconds()})
    verdict.enforce(str(work.name))
    return verdict


def _loaded(work: Work) -> Encoder:
    encoder = catalog.load(work.run.collection.reference(work.space))
    _prove(work, encoder)
    return encoder


def _measured(work: Work) -> tuple[Gate, Gate]:
    """The gates over what the processes that had an encoder have noted."""
    flights = [work.noted(file) for file in canary_notes(work)]
    encodes = [work.noted(file) for file in encode_notes(work)]
    spots = [work.noted(file) for file in spot_notes(work)]
    spots += [note["spots"] for note in encodes if "spots" in note]
    return (
        spot_gate(spots, len(encodes), work.spec),
        canary_gate(flights, len(encodes), work.spec),
    )


def publish_stage(work: Work) -> Release:
    """Write the next release, as a candidate; the base itself where nothing changed."""
    verdict = _verdict(work)
    verdict.enforce(str(work.name))
    store, base = work.run.store, work.base
    agree(store, work.name, work.contract)
    with timer() as seconds:
        plan = read_plan(work)
        own = [*work.contract.metadata, "partition", "source_uri", "row_digest"]
        items, _ = offered(work, own)
        collected = collect(store, work.contract, plan, items, base, work.shard_files)
        _check_verdict(work, verdict, plan, len(collected.failures))
        lasting = [item for item, why in collected.failures.items() if not why.retryable]
        removed = [*plan.of("delete", "reject")["id"].to_pylist(), *lasting]
        published, change = _published(store, base, work.contract), Change(collected, removed)
        parts = write_parts(
            store, work.name, work.contract, base.parts if base else (), published, change
        )
        old = release_rejects(store, base)
        rejects = write_rejects(
            store, work.name, release_reject_rows(work, plan, collected.failures, old), old
        )
        state = state_of(parts, rejects, about(work))
        release = base if base and base.state == state else None
        if release is None:
            store.create(work.name.key("spec.json"), work.contract.to_bytes())
            agree(store, work.name, work.contract)
            canary = base.canary if base else None
            canary = canary or publish_canary(store, work.name, work.contract)
            draft = draft_release(work, verdict, parts, rejects, state, canary)
            draft = replace(draft, changes=change.counts(published))
            release = commit(store, work.name, draft)
    work.note("publish.json", {"release": release.number, "seconds": seconds()})
    return release


def _in_scope(published: pa.Table, scope: Scope, contract: Contract) -> pa.Array:
    if scope.ids is not None:
        items = published[contract.item_column]
        return pc.is_in(items, value_set=pa.array(scope.ids, pa.string()))
    if scope.partition is not None:
        return pc.fill_null(pc.equal(published["partition"], scope.partition), False)
    return pa.array([True] * published.num_rows, pa.bool_())


def _published(store: Store, base: Release | None, contract: Contract) -> pa.Table:
    columns = ["id", "content_digest", "row_digest", "partition"]
    columns += [contract.item_column] if contract.item_column != "id" else []
    schema = pa.schema([contract.schema.field(name) for name in columns])
    rows = release_rows(store, base, contract, columns) if base else iter(())
    return whole((table.select(columns).cast(schema) for table in rows), schema)


def _check_verdict(work: Work, verdict: Verdict, plan: Plan, failed: int) -> None:
    """What is about to be published must be what the gates have seen."""
    rejected = failed + plan.count("reject") + work.noted("plan.json")["rejected_by_pull"]
    if rejected != verdict.ledger.rejected:
        raise Conflict(f"{verdict.ledger.rejected} rejects were validated, {rejected} are there")


def _verdict(work: Work) -> Verdict:
    noted = work.noted("verdict.json")
    gates = tuple(Gate(**gate) for gate in noted["gates"])
    return Verdict(Ledger(**noted["ledger"]), gates, tuple(noted["rejects"]))
