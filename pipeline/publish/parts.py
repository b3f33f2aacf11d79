"""Publish: an immutable, numbered release that shares every part it does not change.

Parts are named by their content and manifests are put if absent, so this stage can be
interrupted anywhere and run again: it finds what it wrote.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import part_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.publish.collect import NewRows
from commonspace.pipeline.release.manifest import Part
from commonspace.pipeline.release.parts import bucket_of, read_part
from commonspace.pipeline.release.removal import (
    PendingRemoval,
    key_not_in_removal,
    load_pending_removal,
)
from commonspace.pipeline.storage.store import Store

PART_ROWS = 16_384
"""Rows a part aims for: small enough that a small change rewrites little, large enough that
a release of millions of rows has hundreds of files, not tens of thousands."""

Place = tuple[str | None, str]
"""Where a row lives: its partition and its bucket."""


@dataclass(frozen=True)
class Change:
    """What a run does to a space: rows that come, and ids whose old rows go."""

    rows: NewRows
    removed: Sequence[str]
    """Ids that leave without a successor: deletes, and items that became rejects for good."""

    def counts(self, published: pa.Table) -> dict[str, int]:
        """How many rows are added, changed and removed against what is published: `id`."""
        before, after = set(published["id"].to_pylist()), set(self.rows.rows["id"].to_pylist())
        return {
            "added": len(after - before),
            "changed": len(after & before),
            "removed": len(before & set(self.removed) - after),
        }


def bits_for(rows: int, before: int = 0) -> int:
    """How many bits keep buckets near PART_ROWS; never fewer than before."""
    bits = before
    while rows > PART_ROWS * 2**bits:
        bits += 1
    return bits


def write_parts(
    store: Store,
    name: SpaceName,
    contract: Contract,
    parts: Sequence[Part],
    published: pa.Table,
    change: Change,
) -> tuple[Part, ...]:
    """Every part of the next release; only those that the change touches are written.

    parts: those of the release that the run started from; published: its `id`, `partition`.
    """
    before = dict(zip(*(published[c].to_pylist() for c in ("id", "partition")), strict=True))
    after = dict(zip(*(change.rows.rows[c].to_pylist() for c in ("id", "partition")), strict=True))
    gone = {item for item in [*change.removed, *after] if item in before}
    bits = _bits(parts, before, after, gone)
    coming: dict[Place, list[int]] = defaultdict(list)
    for index, (item, partition) in enumerate(after.items()):
        coming[partition, bucket_of(item, bits[partition])].append(index)
    touched = set(coming) | {(before[i], bucket_of(i, bits[before[i]])) for i in gone}
    for part in parts:  # a bucket that has grown too large is split, all of it
        if len(part.bucket) < bits.get(part.partition, 0):
            width = bits[part.partition] - len(part.bucket)
            touched |= {(part.partition, f"{part.bucket}{n:0{width}b}") for n in range(2**width)}
    kept = [p for p in parts if not any(_holds(p, place) for place in touched)]
    pending, leaving = load_pending_removal(store, name), pa.array(gone, pa.string())
    for place in sorted(touched, key=lambda p: (p[0] or "", p[1])):
        old = [part for part in parts if _holds(part, place)]
        table = _bucket(store, contract, old, place, leaving, change.rows.take(coming[place]))
        if table.num_rows:
            kept.append(_write(store, name, place, table, pending))
    return tuple(sorted(kept, key=lambda p: (p.partition or "", p.bucket)))


def _bits(
    parts: Sequence[Part],
    before: dict[str, str | None],
    after: dict[str, str | None],
    gone: set[str],
) -> dict[str | None, int]:
    rows: dict[str | None, int] = defaultdict(int)
    now: dict[str | None, int] = defaultdict(int)
    for part in parts:
        rows[part.partition] += part.rows
        now[part.partition] = max(now[part.partition], len(part.bucket))
    for item in gone:
        rows[before[item]] -= 1
    for partition in after.values():
        rows[partition] += 1
    return {partition: bits_for(count, now[partition]) for partition, count in rows.items()}


def _holds(part: Part, place: Place) -> bool:
    return part.partition == place[0] and place[1].startswith(part.bucket)


def _bucket(
    store: Store,
    contract: Contract,
    old: Sequence[Part],
    place: Place,
    leaving: pa.Array,
    coming: pa.Table,
) -> pa.Table:
    """The bucket's rows after the change, sorted by id."""
    tables = [coming.select(contract.schema.names).cast(contract.schema)]
    for part in old:
        table = read_part(store, part, contract)
        table = table.filter(pc.invert(pc.is_in(table["id"], value_set=leaving)))
        if part.bucket != place[1]:  # it is split
            buckets = [bucket_of(item, len(place[1])) for item in table["id"].to_pylist()]
            table = table.filter(pc.equal(pa.array(buckets, pa.string()), place[1]))
        tables.append(table.cast(contract.schema))
    whole = pa.concat_tables(tables).sort_by("id")
    if len(pc.unique(whole["id"])) != whole.num_rows:
        raise ContractBroken("an id stands twice in a bucket", item=f"{contract.space} {place}")
    return whole


def _write(
    store: Store, name: SpaceName, place: Place, table: pa.Table, pending: PendingRemoval
) -> Part:
    data = parquet_bytes(table)
    digest = hashlib.sha256(data).hexdigest()
    partition, bucket = place
    # Not `key=value`, which engines would read as a column; never only dots.
    folder = "all" if partition is None else f"in-{quote(partition, safe='')}"
    key = part_key(name, folder, bucket, digest)
    key = key_not_in_removal(key, pending)
    store.put_if_absent(key, data)
    stored = store.read(key)
    if stored is None or hashlib.sha256(stored).hexdigest() != digest:
        raise ContractBroken("was not stored as it was written", item=key, retry=True)
    return Part(key, partition, bucket, table.num_rows, len(data), digest)
