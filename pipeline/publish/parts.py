"""The parts of the next release: those that a change touches are written, all others are shared.

Parts are named by their content, so this can be interrupted anywhere and run again: it finds what
it wrote.
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
from commonspace.pipeline.contract.stored_columns import in_columns_of, type_name
from commonspace.pipeline.errors import Conflict, ContractBroken
from commonspace.pipeline.publish.collect import NewRows
from commonspace.pipeline.release.manifest import Part
from commonspace.pipeline.release.markers.removal import (
    PendingRemoval,
    key_not_in_removal,
    load_pending_removal,
)
from commonspace.pipeline.release.parts import bucket_of, read_part_as_written
from commonspace.pipeline.storage.store import Store

PART_ROWS = 16_384
"""The most rows that a part should have: small enough that a small change rewrites little, large
enough that a release of millions of rows has hundreds of files, not tens of thousands."""

Place = tuple[str | None, str]
"""Where a row belongs: its partition and its bucket."""


@dataclass(frozen=True)
class Change:
    """What a run does to a space: rows that it gains, and ids that lose theirs."""

    new: NewRows
    removed: Sequence[str]
    """Ids whose rows go without a new one: deletes, and items that became rejects for good."""

    def counts(self, published: pa.Table) -> dict[str, int]:
        """How many rows are added, changed and removed against what is published: `id`."""
        before, after = set(published["id"].to_pylist()), set(self.new.rows["id"].to_pylist())
        return {
            "added": len(after - before),
            "changed": len(after & before),
            "removed": len(before & set(self.removed) - after),
        }


def bucket_bits(rows: int, before: int = 0) -> int:
    """How many bits keep a partition's buckets below about PART_ROWS; never fewer than before."""
    bits = before
    while rows > PART_ROWS * 2**bits:
        bits += 1
    return bits


def write_parts(
    store: Store,
    name: SpaceName,
    contract: Contract,
    *,
    parts: Sequence[Part],
    published: pa.Table,
    change: Change,
) -> tuple[Part, ...]:
    """Every part of the next release; only those that the change touches are written.

    Args:
        store: the warehouse.
        name: the space.
        contract: the space's.
        parts: those of the release that the run started from.
        published: `id` and `partition` of that release's rows.
        change: what the run does to it.

    Raises:
        ContractBroken: two rows of a part would have the same id, or a part is not stored as it
            was written.
    """
    partition_before, partition_after = _partitions(published), _partitions(change.new.rows)
    replaced = {i for i in [*change.removed, *partition_after] if i in partition_before}
    bits = _bits_of_partitions(parts, partition_before, partition_after, replaced)
    new_rows: dict[Place, list[int]] = defaultdict(list)
    for position, (item, partition) in enumerate(partition_after.items()):
        new_rows[partition, bucket_of(item, bits[partition])].append(position)
    touched = set(new_rows) | _split_places(parts, bits)
    for item in replaced:
        partition = partition_before[item]
        touched.add((partition, bucket_of(item, bits[partition])))
    next_parts = [p for p in parts if not any(_covers(p, place) for place in touched)]
    pending, replaced_ids = load_pending_removal(store, name), pa.array(replaced, pa.string())
    for place in sorted(touched, key=lambda place: (place[0] or "", place[1])):
        old = [part for part in parts if _covers(part, place)]
        kept = _kept_rows(store, contract, old, place, replaced_ids)
        table = _merge(contract, place, change.new.take(new_rows[place]), kept)
        if table.num_rows:
            next_parts.append(_write_part(store, name, place, table, pending))
    return tuple(sorted(next_parts, key=lambda part: (part.partition or "", part.bucket)))


def _partitions(rows: pa.Table) -> dict[str, str | None]:
    """The partition of each id."""
    return dict(zip(rows["id"].to_pylist(), rows["partition"].to_pylist(), strict=True))


def _bits_of_partitions(
    parts: Sequence[Part],
    partition_before: dict[str, str | None],
    partition_after: dict[str, str | None],
    replaced: set[str],
) -> dict[str | None, int]:
    """How many bits the buckets of each partition have in the next release."""
    rows: dict[str | None, int] = defaultdict(int)
    bits: dict[str | None, int] = defaultdict(int)
    for part in parts:
        rows[part.partition] += part.rows
        bits[part.partition] = max(bits[part.partition], len(part.bucket))
    for item in replaced:
        rows[partition_before[item]] -= 1
    for partition in partition_after.values():
        rows[partition] += 1
    return {partition: bucket_bits(count, bits[partition]) for partition, count in rows.items()}


def _split_places(parts: Sequence[Part], bits: dict[str | None, int]) -> set[Place]:
    """What parts are split into whose buckets have fewer bits than their partition is to have."""
    places: set[Place] = set()
    for part in parts:
        added = bits.get(part.partition, 0) - len(part.bucket)
        if added > 0:
            places |= {(part.partition, f"{part.bucket}{n:0{added}b}") for n in range(2**added)}
    return places


def _covers(part: Part, place: Place) -> bool:
    """Whether the part has the rows of the place, perhaps beside others."""
    return part.partition == place[0] and place[1].startswith(part.bucket)


def _kept_rows(
    store: Store, contract: Contract, parts: Sequence[Part], place: Place, replaced: pa.Array
) -> list[pa.Table]:
    """The rows of the place that stay as they are, part by part."""
    tables = []
    for part in parts:
        table = _in_columns(contract, read_part_as_written(store, part, contract))
        table = table.filter(pc.invert(pc.is_in(table["id"], value_set=replaced)))
        if part.bucket != place[1]:  # it is split
            buckets = [bucket_of(item, len(place[1])) for item in table["id"].to_pylist()]
            table = table.filter(pc.equal(pa.array(buckets, pa.string()), place[1]))
        tables.append(table.cast(contract.schema))
    return tables


def _in_columns(contract: Contract, rows: pa.Table) -> pa.Table:
    """Rows of an older part in the columns of the contract.

    A row that loses the value of a column that was dropped, or declared anew with another type,
    loses its row digest, too. Where the column comes back, the row would otherwise seem unchanged,
    and stay without the value.
    """
    table = in_columns_of(contract, rows)
    lost = pa.array([False] * rows.num_rows, pa.bool_())
    for name in rows.column_names:
        if type_name(table.schema, name) != type_name(rows.schema, name):
            lost = pc.or_(lost, pc.is_valid(rows[name]))
    digests = pc.if_else(lost, "", table["row_digest"])
    position = table.schema.get_field_index("row_digest")
    return table.set_column(position, table.schema.field(position), digests)


def _merge(contract: Contract, place: Place, new: pa.Table, kept: list[pa.Table]) -> pa.Table:
    """The rows of the place after the change, sorted by id."""
    new = new.select(contract.schema.names).cast(contract.schema)
    merged = pa.concat_tables([new, *kept]).sort_by("id")
    if len(pc.unique(merged["id"])) != merged.num_rows:
        partition, bucket = place
        raise ContractBroken(
            "two of the rows to be published have the same id",
            item=f"{contract.space}, partition {partition}, bucket {bucket or 'all'}",
        )
    return merged


def _write_part(
    store: Store, name: SpaceName, place: Place, table: pa.Table, pending: PendingRemoval
) -> Part:
    data = parquet_bytes(table)
    digest = hashlib.sha256(data).hexdigest()
    partition, bucket = place
    # Not `key=value`, which engines would read as a column; never only dots.
    folder = "all" if partition is None else f"in-{quote(partition, safe='')}"
    key = key_not_in_removal(part_key(name, folder, bucket, digest), pending)
    store.put_if_absent(key, data)
    stored = store.read(key)
    if stored is None:  # an old release had the same part, and `retain` has begun after this run
        raise Conflict(f"{key} has just been removed as a file of an old release")
    if hashlib.sha256(stored).hexdigest() != digest:
        raise ContractBroken("was not stored as it was written", item=key, retry=True)
    return Part(
        key=key,
        partition=partition,
        bucket=bucket,
        rows=table.num_rows,
        bytes=len(data),
        sha256=digest,
    )
