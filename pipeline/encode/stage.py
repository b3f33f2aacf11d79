"""pipeline/encode/stage.py"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Encoder
from commonspace.pipeline.canary.first import check_before_encoding
from commonspace.pipeline.encode.crash_isolation import ShardMaker
from commonspace.pipeline.encode.golden import keep_golden
from commonspace.pipeline.encode.spot_check import check_made, check_published, sample
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.memory import release_free_memory, peak_rss
from commonspace.pipeline.plan.plan_file import plan_groups
from commonspace.pipeline.pull.items import read_item_locations
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.workspace.work import Work, timer


def encode_stage(work: Work, shards: Sequence[str], encoder: Encoder | None = None) -> list[str]:
    """Encode those of the plan's shards that no run has finished yet, and check them; their keys.

    Raises GateRefused, before the first one, where the canary shows that the encoder has changed
    or published rows no longer get their vectors; after one, where its own rows do not.
    """
    run = work.run
    todo = [key for key in shards if work.finished_shard(key) is None or work.has(_unchecked(key))]
    if not todo:
        return []
    encoder = encoder or catalog.load(run.collection.encoder_reference(work.space))
    note_canary_check(work, encoder)
    seed, spot_rows = f"{run.id} {todo[0]}", run.collection.gates.spot_rows
    planned, kept = _planned(work, todo, spot_rows, seed)
    release_free_memory()
    progress = run.progress(f"{work.name}: encode", planned.num_rows)
    pieces = ShardMaker(work, open_source(run.collection), encoder, progress)
    spots = check_published(pieces, kept)
    work.write_note(f"spot-{secrets.token_hex(4)}.json", spots.to_json())
    keep_golden(work, encoder)
    spotted = sample(planned["id"].combine_chunks(), spot_rows, seed)
    with progress:
        for number, key in enumerate(todo):
            rows, before = planned.filter(pc.equal(planned["shard"], key)), progress.done
            work.write_note(_unchecked(key), {})  # a process may die between making and checking
            with timer() as seconds:
                place = pieces.make(key, rows)
            items = progress.done - before  # less than the rows where pieces were there already
            took = {"items": items, "seconds": seconds(), "peak_rss_bytes": peak_rss()}
            release_free_memory()
            note = {**took, "device": encoder.device, "engine": encoder.engine}
            rows = rows.filter(pc.is_in(rows["id"], value_set=spotted))
            spots = check_made(pieces, place, rows, todo[: number + 1])
            work.write_note(f"encode-{key}.json", {**note, "spots": spots.to_json()})
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
    planned = read_item_locations(work, pa.concat_arrays(ids))
    shard = pa.chunked_array(of_shard, pa.dictionary(pa.int32(), pa.string()))
    return planned.append_column("shard", shard), read_item_locations(work, kept)


def note_canary_check(work: Work, encoder: Encoder) -> None:
    """Check the canary, and leave a note of it for `validate`. Raises ContractBroken."""
    pinned = work.base.canary if work.base else None
    store, run = work.run.store, work.run.id
    flight = check_before_encoding(store, work.name, work.contract, encoder, run=run, pinned=pinned)
    work.write_note(f"canary-{secrets.token_hex(4)}.json", flight.to_json())
    if not flight.ok:
        raise GateRefused(
            f"gate canary refused: {flight.what} (device {flight.device})",
            item=str(work.name),
            retry=flight.retry,
            do=f"{flight.do}\n  Nothing was encoded; what was served before is served still.",
            gates=[flight.gate.to_json()],
        )
