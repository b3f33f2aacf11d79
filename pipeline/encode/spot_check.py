"""The spot check: are the stored vectors of sampled rows still those of their contents?

The rows are loaded by id and encoded again. That finds vectors under the wrong id, and stored
ones that the encoder would not make any more, where every checksum and every norm is right. It
runs where an encoder is loaded anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Reason
from commonspace.encoders.vectors import angles
from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.encode.crash_isolation import ShardMaker
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.gates.spot import SpotCheckResult
from commonspace.pipeline.release.manifest import Part
from commonspace.pipeline.release.parts import bucket_of, read_part_groups
from commonspace.pipeline.workspace.shards import read_shard
from commonspace.pipeline.workspace.work import Work

_LONGEST_BUCKET = 32
"""Hex digits of a bucket's name: every part's bucket is a prefix of such a name."""


def sample(ids: pa.Array, count: int, seed: str) -> pa.Array:
    """`count` of the ids, in their order, all where there are fewer; the seed decides which."""
    if len(ids) <= count:
        return ids
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    chosen = np.random.default_rng(number).choice(len(ids), count, replace=False, shuffle=False)
    return ids.take(pa.array(np.sort(chosen)))


def check_published(maker: ShardMaker, rows: pa.Table) -> SpotCheckResult:
    """Compare sampled rows of the base release that the plan keeps with their stored vectors.

    Args:
        maker: encodes the rows again.
        rows: what `read_item_locations` returns for them.

    Raises:
        GateRefused: a vector is not that of its row's content.
    """
    work = maker.work
    if work.base is None or not rows.num_rows:
        return SpotCheckResult(limit=work.spec.tolerance)
    result = compare(maker, rows, _published_vectors(work, rows))
    if not result.ok:
        raise GateRefused(
            result.what,
            item=str(work.name),
            do=f"It is in release {work.base.number}. Either ids and vectors are mixed up there, "
            "or the encoder no longer makes the vectors it made. `commonspace verify` checks the "
            "files; restore them from a copy, promote an older release, or set version = "
            f"{work.name.version + 1} for this space to fill a new one beside it.\n  Nothing was "
            "encoded; readers still see what they saw before.",
            gates=[result.gate.to_json()],
        )
    return result


def check_encoded(
    maker: ShardMaker, file: str, rows: pa.Table, encoded: Sequence[str]
) -> SpotCheckResult:
    """Compare sampled rows of a finished shard, as stored, with the same rows encoded again.

    Args:
        maker: encodes the rows again.
        file: the shard's file.
        rows: the sampled ones of its planned rows.
        encoded: the names of all shards of this process so far.

    Raises:
        GateRefused: a vector is not that of its row's content; those shards are then deleted.
    """
    work, encoder = maker.work, maker.encoder
    if not rows.num_rows:
        return SpotCheckResult(limit=work.spec.tolerance)
    columns, ids = ["id", "vector", "reason"], rows["id"].combine_chunks()
    stored = read_shard(work.run.store, file, work.spec, columns, ids)
    result = compare(maker, rows, stored.filter(pc.is_null(stored["reason"])))
    if not result.ok:
        for shard in encoded:
            work.run.store.delete(work.own_shard(shard))
            work.run.store.delete(work.shared_shard(shard))
        raise GateRefused(
            result.what,
            item=str(work.name),
            do="This run has just encoded it, and encoding it again gives another vector: the "
            f"encoder mixes up rows, or computes differently each time (device {encoder.device}, "
            f"engine {encoder.engine}). The shards of this process are deleted; readers still see "
            "what they saw before.",
            gates=[result.gate.to_json()],
        )
    return result


def compare(maker: ShardMaker, rows: pa.Table, stored: pa.Table) -> SpotCheckResult:
    """The largest angle between stored vectors and those of the same rows, encoded again.

    Args:
        maker: encodes the rows again.
        rows: `id`, `digest`, `locator` and more, as `read_item_locations` returns them.
        stored: `id`, `vector`; rows that it lacks are not compared.
    """
    spec = maker.work.spec
    limit = spec.tolerance
    rows = rows.filter(pc.is_in(rows["id"], value_set=stored["id"].combine_chunks()))
    if not rows.num_rows:
        return SpotCheckResult(limit=limit)
    again = maker.encode_again(rows)
    # Rows of unknown text were published before they were rejects; nothing about them has changed.
    again = again.filter(pc.fill_null(pc.not_equal(again["reason"], Reason.UNKNOWN_TEXT), True))
    failed = again.filter(pc.is_valid(again["reason"]))
    # The limit of time may be another one than when the row was encoded.
    is_late = pc.equal(failed["reason"], str(Reason.IMAGE_TOO_COSTLY))
    transient = pc.or_(failed["retryable"], is_late)
    permanent = failed.filter(pc.invert(transient)).slice(0, 1).to_pylist()
    if permanent:
        fault = f"cannot be made from its content any more ({permanent[0]['message']})"
        return SpotCheckResult(
            limit=limit, item=permanent[0]["id"], checked=rows.num_rows, fault=fault
        )
    crashed = pc.sum(pc.equal(failed["reason"], Reason.KILLED_ENCODER)).as_py() or 0
    skipped = failed.num_rows - crashed
    again = again.filter(pc.is_null(again["reason"]))
    if not again.num_rows:
        return SpotCheckResult(limit=limit, skipped=skipped, crashed=crashed)
    stored_row = pc.index_in(again["id"], value_set=stored["id"].combine_chunks())
    angle = angles(vectors_of(again, spec.dim), vectors_of(stored.take(stored_row), spec.dim))
    worst = int(angle.argmax())
    return SpotCheckResult(
        limit=limit,
        angle=float(angle[worst]),
        item=again["id"][worst].as_py(),
        checked=again.num_rows,
        skipped=skipped,
        crashed=crashed,
    )


def _published_vectors(work: Work, rows: pa.Table) -> pa.Table:
    """`id` and `vector` of the rows, read from the parts of the base that hold them."""
    parts = work.base.parts if work.base else ()
    ids_by_part: dict[Part, list[str]] = {}
    for id_, partition in zip(rows["id"].to_pylist(), rows["partition"].to_pylist(), strict=True):
        bucket = bucket_of(id_, _LONGEST_BUCKET)
        for part in parts:
            if part.partition == partition and bucket.startswith(part.bucket):
                ids_by_part.setdefault(part, []).append(id_)
    columns = ["id", "vector"]
    tables = [work.contract.schema.empty_table().select(columns)]
    for part, ids in ids_by_part.items():
        tables += read_part_groups(
            work.run.store, part, work.contract, columns, pa.array(ids, pa.string())
        )
    return pa.concat_tables([table.cast(tables[0].schema) for table in tables])
