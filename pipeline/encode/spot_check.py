"""The spot check: sampled rows are loaded by id and encoded again. Are these still their vectors?

It finds vectors that hang on the wrong id, and stored ones that the encoder would not make any
more, where every checksum and every norm is right. It is made where an encoder is loaded anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Reason
from commonspace.encoders.vectors import angles
from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.encode.crash_isolation import ShardMaker
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.release.manifest import Part
from commonspace.pipeline.release.parts import bucket_of, read_part_groups
from commonspace.pipeline.workspace.shards import read_shard
from commonspace.pipeline.workspace.work import Work

_LONGEST_BUCKET = 32


@dataclass(frozen=True)
class SpotCheckResult:
    """What became of the sampled rows that were encoded again.

    angle: the largest to a stored vector, in radians, of row `item`.
    checked: rows that were compared; skipped: rows whose content could not be loaded;
    killed: rows that kill the process that encodes them.
    fault: how `item` gets no vector any more; else empty.
    """

    limit: float
    angle: float = 0.0
    item: str = ""
    checked: int = 0
    skipped: int = 0
    killed: int = 0
    fault: str = ""

    @property
    def ok(self) -> bool:
        return not self.fault and self.angle <= self.limit

    @property
    def what(self) -> str:
        """The breach in a sentence."""
        apart = f"lies {self.angle:.3g} rad from the vector of its content"
        return (
            f"gate spot_check refused: the stored vector of {self.item!r} {self.fault or apart}; "
            f"its spec allows {self.limit:g} rad ({self.checked} rows were encoded again)"
        )

    @property
    def gate(self) -> Gate:
        """The gate over this check alone; no value where there is no angle to measure."""
        value = None if self.fault else self.angle
        return Gate("spot_check", self.ok, value, self.limit, self.what)

    def to_json(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {
            "ok": self.ok,
            "largest_angle": self.angle,
            "limit": self.limit,
            "item": self.item,
            "checked": self.checked,
            "skipped": self.skipped,
            "killed": self.killed,
            "fault": self.fault,
        }


def sample(ids: pa.Array, count: int, seed: str) -> pa.Array:
    """`count` of the ids, in their order, all where there are fewer; the seed decides which."""
    if len(ids) <= count:
        return ids
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    chosen = np.random.default_rng(number).choice(len(ids), count, replace=False, shuffle=False)
    return ids.take(pa.array(np.sort(chosen)))


def check_published(pieces: ShardMaker, rows: pa.Table) -> SpotCheckResult:
    """Sampled rows of the base release that the plan keeps, against their stored vectors.

    rows: what `read_item_locations` returns for them.
    Raises GateRefused where a vector is not that of its row's content.
    """
    work = pieces.work
    if work.base is None or not rows.num_rows:
        return SpotCheckResult(work.spec.tolerance)
    spots = _compare(pieces, rows, _published_vectors(work, rows))
    if not spots.ok:
        raise GateRefused(
            spots.what,
            item=str(work.name),
            do=f"It stands in release {work.base.number}. Either vectors hang on the wrong ids "
            "there, or the encoder no longer makes what it made. `commonspace verify` checks the "
            "files; restore them from a copy, promote an older release, or set version = "
            f"{work.name.version + 1} for this space to fill a new one beside it.\n  Nothing was "
            "encoded; what was served before is served still.",
            gates=[spots.gate.to_json()],
        )
    return spots


def check_made(
    pieces: ShardMaker, place: str, rows: pa.Table, made: Sequence[str]
) -> SpotCheckResult:
    """Sampled rows of a shard as it lies in the store now, against the same rows encoded again.

    place: where it lies; rows: what is sampled of its planned items; made: the keys of all shards
    of this process so far.
    Raises GateRefused where a vector is not that of its row's content; then those shards are gone.
    """
    work, encoder = pieces.work, pieces.encoder
    if not rows.num_rows:
        return SpotCheckResult(work.spec.tolerance)
    columns, ids = ["id", "vector", "reason"], rows["id"].combine_chunks()
    stored = read_shard(work.run.store, place, work.spec, columns, ids)
    spots = _compare(pieces, rows, stored.filter(pc.is_null(stored["reason"])))
    if not spots.ok:
        for shard in made:
            work.run.store.delete(work.own_shard(shard))
            work.run.store.delete(work.shard(shard))
        raise GateRefused(
            spots.what,
            item=str(work.name),
            do="This run has just encoded it, and encoding it again gives another vector: the "
            f"encoder mixes up rows, or computes differently each time (device {encoder.device}, "
            f"engine {encoder.engine}). The shards that were made are dropped; what was served "
            "before is served still.",
            gates=[spots.gate.to_json()],
        )
    return spots


def _compare(pieces: ShardMaker, rows: pa.Table, stored: pa.Table) -> SpotCheckResult:
    """rows: `id`, `digest`, `locator` of what to encode again; stored: `id`, `vector`."""
    spec = pieces.work.spec
    limit = spec.tolerance
    rows = rows.filter(pc.is_in(rows["id"], value_set=stored["id"].combine_chunks()))
    if not rows.num_rows:
        return SpotCheckResult(limit)
    again = pieces.again(rows)
    failed = again.filter(pc.is_valid(again["reason"]))
    for row in failed.filter(pc.invert(failed["retryable"])).to_pylist():
        fault = f"is one that its content gives no more ({row['message']})"
        return SpotCheckResult(limit, 0.0, row["id"], len(rows), fault=fault)
    killed = pc.sum(pc.equal(failed["reason"], Reason.KILLED_ENCODER)).as_py() or 0
    skipped = len(failed) - killed
    again = again.filter(pc.is_null(again["reason"]))
    if not again.num_rows:
        return SpotCheckResult(limit, skipped=skipped, killed=killed)
    at = pc.index_in(again["id"], value_set=stored["id"].combine_chunks())
    apart = angles(vectors_of(again, spec.dim), vectors_of(stored.take(at), spec.dim))
    worst = int(apart.argmax())
    item = again["id"][worst].as_py()
    return SpotCheckResult(limit, float(apart[worst]), item, len(again), skipped, killed)


def _published_vectors(work: Work, rows: pa.Table) -> pa.Table:
    """`id` and `vector` of the rows, read from the parts of the base that hold them."""
    base = work.base
    wanted: dict[Part, list[str]] = {}
    for item, partition in zip(*(rows[c].to_pylist() for c in ("id", "partition")), strict=True):
        bucket = bucket_of(item, _LONGEST_BUCKET)
        for part in base.parts if base else ():
            if part.partition == partition and bucket.startswith(part.bucket):
                wanted.setdefault(part, []).append(item)
    found = [work.contract.schema.empty_table().select(["id", "vector"])]
    for part, ids in wanted.items():
        columns, some = ["id", "vector"], pa.array(ids, pa.string())
        found += read_part_groups(work.run.store, part, work.contract, columns, some)
    return pa.concat_tables([table.cast(found[0].schema) for table in found])
