"""The encode stage: the plan's shards become vectors, and samples of them are checked."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Encoder, ImageLimits
from commonspace.pipeline.allocator import peak_rss, release_free_memory
from commonspace.pipeline.canary.before_encoding import check_before_encoding
from commonspace.pipeline.encode.crash_isolation import ShardMaker
from commonspace.pipeline.encode.golden_vectors import keep_golden
from commonspace.pipeline.encode.notes import EncodeNote
from commonspace.pipeline.encode.reuse import copy_shards
from commonspace.pipeline.encode.spot_check import check_encoded, check_published, sample
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.plan.plan_file import read_plan_groups
from commonspace.pipeline.plan.vector_sources import ReuseNote
from commonspace.pipeline.pull.items import read_item_locations
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.workspace.work import Work, timer


def encode_stage(work: Work, shards: Sequence[str], encoder: Encoder | None = None) -> list[str]:
    """Encode those of the plan's shards that no run has finished yet, and check them.

    Args:
        work: it has been planned.
        shards: names of shards of its plan.
        encoder: that of the space, which is loaded where it is not given.

    Returns:
        the names of the shards that this call has encoded; those that it has copied from other
        releases are left out.

    Raises:
        GateRefused: before the first shard, where the canary shows that the encoder has changed
            or published rows no longer get their vectors; after one, where its own rows do not.
    """
    todo = [
        shard
        for shard in shards
        if work.finished_shard(shard) is None or work.has(_unchecked_marker(shard))
    ]
    if not todo:
        return []
    encoder = encoder or load_encoder(work)
    note_canary_check(work, encoder)
    rows = _read_rows(work, todo)
    release_free_memory()
    progress = work.run.progress(f"{work.name}: encode", rows.planned.num_rows)
    maker = ShardMaker(work, open_source(work.run.collection), encoder, progress)
    work.write_note(check_published(maker, rows.kept_sample), secrets.token_hex(4))
    keep_golden(work, encoder)
    todo = _without_copied(maker, rows, todo)
    with progress:
        for number, shard in enumerate(todo):
            _encode_and_check(maker, shard, rows, todo[: number + 1])
    return todo


def _without_copied(maker: ShardMaker, rows: _Rows, shards: Sequence[str]) -> list[str]:
    """The shards that have to be encoded: those of the plan's that cannot be copied."""
    work = maker.work
    note = work.find_note(ReuseNote)
    to_copy = [shard for shard in shards if note and shard in note.sources]
    # A process may end between copying and checking: the next one then finds the marker.
    for shard in to_copy:
        work.run.store.put(work.path(_unchecked_marker(shard)), b"{}\n")
    copied = copy_shards(maker, rows.planned, to_copy)
    for shard in copied:
        work.run.store.delete(work.path(_unchecked_marker(shard)))
    return [shard for shard in shards if shard not in copied]


def load_encoder(work: Work) -> Encoder:
    """The space's encoder, within the collection's limits."""
    collection = work.run.collection
    limits = collection.limits
    return catalog.load(
        collection.encoder_reference(work.space),
        image_limits=ImageLimits(limits.max_image_pixels, limits.max_image_seconds),
    )


def note_canary_check(work: Work, encoder: Encoder) -> None:
    """Check the canary, and leave a note of it for `validate`.

    Raises:
        GateRefused: the encoder makes other vectors than it made.
        ContractBroken: the stored canary is damaged, or the encoder breaks its protocol.
    """
    pinned = work.base.canary if work.base else None
    store, run = work.run.store, work.run.id
    check = check_before_encoding(store, work.name, work.contract, encoder, run=run, pinned=pinned)
    work.write_note(check.note, secrets.token_hex(4))
    if not check.ok:
        raise GateRefused(
            f"gate canary refused: {check.what} (device {check.device})",
            item=str(work.name),
            retry=check.retry,
            do=f"{check.do}\n  Nothing was encoded; readers still see what they saw before.",
            gates=[check.gate.to_json()],
        )


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What a process is to encode, and what of it and of the published rows is checked.

    planned: What `read_item_locations` returns, with its `shard`.
    planned_sample: Ids of some of them.
    kept_sample: Some rows that the plan keeps, as `planned`, without `shard`.
    """

    planned: pa.Table
    planned_sample: pa.Array
    kept_sample: pa.Table


def _read_rows(work: Work, shards: Sequence[str]) -> _Rows:
    seed, spot_rows = f"{work.run.id} {shards[0]}", work.run.collection.gates.spot_rows
    ids, shard_of_id, kept = [pa.nulls(0, pa.string())], [], [pa.nulls(0, pa.string())]
    for rows in read_plan_groups(work, ["id", "action", "shard"]):
        planned = rows.filter(pc.is_in(rows["shard"], value_set=pa.array(shards)))
        ids += planned["id"].chunks
        shard_of_id += planned["shard"].dictionary_encode().chunks
        kept += rows.filter(pc.equal(rows["action"], "keep"))["id"].chunks
    planned = read_item_locations(work, pa.concat_arrays(ids))
    shard_column = pa.chunked_array(shard_of_id, pa.dictionary(pa.int32(), pa.string()))
    return _Rows(
        planned=planned.append_column("shard", shard_column),
        planned_sample=sample(planned["id"].combine_chunks(), spot_rows, seed),
        kept_sample=read_item_locations(work, sample(pa.concat_arrays(kept), spot_rows, seed)),
    )


def _encode_and_check(maker: ShardMaker, shard: str, rows: _Rows, encoded: Sequence[str]) -> None:
    """Make one shard, compare a sample of it, and leave a note; `encoded`: with those before."""
    work, marker = maker.work, maker.work.path(_unchecked_marker(shard))
    planned = rows.planned.filter(pc.equal(rows.planned["shard"], shard))
    done_before = maker.progress.done
    # A process may end between making and checking: the next one then finds the marker.
    work.run.store.put(marker, b"{}\n")
    with timer() as seconds:
        file = maker.make(shard, planned)
    took, items, memory = seconds(), maker.progress.done - done_before, peak_rss()
    release_free_memory()
    checked = planned.filter(pc.is_in(planned["id"], value_set=rows.planned_sample))
    spots = check_encoded(maker, file, checked, encoded)
    note = EncodeNote(
        items=items,
        seconds=took,
        peak_rss_bytes=memory,
        device=maker.encoder.device,
        engine=maker.encoder.engine,
        spots=spots,
    )
    work.write_note(note, shard)
    work.run.store.delete(marker)


def _unchecked_marker(shard: str) -> str:
    """The file that says that a shard may be finished and was not compared yet."""
    return f"unchecked-{shard}.json"
