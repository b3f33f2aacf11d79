"""Reuse: the vectors of a shard are copied from a release that holds them, instead of encoded.

The plan says which shards these are, and where their vectors lie. From then on such a shard is one
like any other: the same gates see it, and retention may remove what it was copied from. Where that
is gone or damaged by now, or a sample of it does not agree with the encoder, the contents are
encoded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.encode.crash_isolation import ShardMaker
from commonspace.pipeline.encode.spot_check import compare, sample
from commonspace.pipeline.errors import ContractBroken, StoreFailed
from commonspace.pipeline.gates.spot import SpotCheckResult
from commonspace.pipeline.plan.vector_sources import ReuseNote, VectorSource, counted_rows
from commonspace.pipeline.release.parts import read_part
from commonspace.pipeline.workspace.notes import PlainNote
from commonspace.pipeline.workspace.shards import read_shard, shard_schema
from commonspace.pipeline.workspace.work import Work

_FAILURE = ("reason", "message", "retryable")
"""The columns of a shard that are null where there is a vector."""


@dataclass(frozen=True, kw_only=True)
class CopyNote(PlainNote):
    """A shard whose vectors were copied: from which space, and how many."""

    FILE: ClassVar[str] = "copied-*.json"

    shard: str
    space: str
    rows: int


def encoded_instead(work: Work) -> frozenset[str]:
    """The names of the shards that were to be copied, and had to be encoded."""
    note = work.find_note(ReuseNote)
    copied = {copy.shard for copy in work.read_notes(CopyNote)}
    return frozenset(note.sources if note else ()) - copied


def copy_shards(maker: ShardMaker, planned: pa.Table, shards: Sequence[str]) -> list[str]:
    """Copy the vectors of those of the shards that the plan has found elsewhere, and check them.

    Args:
        maker: encodes a sample of each space's rows again.
        planned: what `read_item_locations` returns for the rows of the shards, with their `shard`.
        shards: what this process has to make.

    Returns:
        the names of the shards that are finished; the others have to be encoded.
    """
    work = maker.work
    note = work.find_note(ReuseNote)
    sources = note.sources if note else {}
    planned = planned.set_column(
        planned.schema.get_field_index("shard"), "shard", planned["shard"].cast(pa.string())
    )
    finished: list[str] = []
    for space in dict.fromkeys(sources[shard].space for shard in shards if shard in sources):
        of_space = [s for s in shards if s in sources and sources[s].space == space]
        copied = [s for s in of_space if _copy(work, planned, s, sources[s])]
        finished += _checked(maker, planned, copied, space)
    return finished


def _copy(work: Work, planned: pa.Table, shard: str, source: VectorSource) -> bool:
    """Write the shard from its source; False where that does not hold all of it any more."""
    rows = planned.filter(pc.equal(planned["shard"], shard)).select(["id", "digest"])
    schema = shard_schema(work.spec)
    stored = [name for name in schema.names if name not in ("id", *_FAILURE)]
    try:
        part = read_part(work.run.store, source.part, work.contract, stored, verify_sha256=True)
    except (ContractBroken, StoreFailed) as error:
        if isinstance(error, StoreFailed) and error.retry:
            raise
        _log(work, f"{error.item} {error.what}: its contents are encoded")
        return False
    part = counted_rows(work.contract, part)
    row = pc.index_in(rows["digest"], value_set=part["content_digest"].combine_chunks())
    if row.null_count:
        return False
    copy = part.take(row).append_column("id", rows["id"])
    if bad_vectors(vectors_of(copy, work.spec.dim), work.spec).any():
        _log(work, f"{source.part.key} has vectors that nobody can use: its contents are encoded")
        return False
    for name in _FAILURE:
        copy = copy.append_column(schema.field(name), pa.nulls(len(copy), schema.field(name).type))
    copy = copy.select(schema.names).cast(schema)
    work.run.store.put(work.own_shard(shard), parquet_bytes(copy))
    return True


def _checked(
    maker: ShardMaker, planned: pa.Table, copied: Sequence[str], space: str
) -> Sequence[str]:
    """The copied shards of a space, where a sample of them agrees with the encoder; else none."""
    work = maker.work
    result = _compare_sample(maker, planned, copied)
    if not result.ok:
        _log(work, f"{space} holds other vectors: {result.what}; its contents are encoded")
        for shard in copied:
            work.run.store.delete(work.own_shard(shard))
        return []
    for shard in copied:
        rows = int(pc.sum(pc.equal(planned["shard"], shard)).as_py() or 0)
        work.write_note(CopyNote(shard=shard, space=space, rows=rows), shard)
    if copied:
        work.write_note(result, f"copied-{copied[0]}")
    return copied


def _compare_sample(maker: ShardMaker, planned: pa.Table, copied: Sequence[str]) -> SpotCheckResult:
    """The vectors of some rows of the copied shards, compared with those of their contents."""
    work = maker.work
    if not copied:
        return SpotCheckResult(limit=work.spec.tolerance)
    rows = planned.filter(pc.is_in(planned["shard"], value_set=pa.array(copied)))
    spot_rows = work.run.collection.gates.spot_rows
    ids = sample(rows["id"].combine_chunks(), spot_rows, f"{work.run.id} {copied[0]}")
    rows = rows.filter(pc.is_in(rows["id"], value_set=ids))
    stored = [
        read_shard(work.run.store, work.own_shard(shard), work.spec, ["id", "vector"], ids)
        for shard in rows["shard"].unique().to_pylist()
    ]
    if not stored:
        return SpotCheckResult(limit=work.spec.tolerance)
    return compare(maker, rows, pa.concat_tables(stored))


def _log(work: Work, message: str) -> None:
    sys.stderr.write(f"commonspace | {work.name}: {message}\n")
