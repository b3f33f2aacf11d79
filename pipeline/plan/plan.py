"""The plan: which items a space is missing, as a pure function of two tables.

An item ends in exactly one of
    keep     published, and nothing about it changed;
    reuse    its row changes, but a vector for its content exists or is made in this run;
    encode   content that the space has never seen;
    reject   content that failed before and would fail again;
and a published row of the scope that the source no longer offers is a `delete`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.source.records import Scope


def make_plan(
    items: pa.Table,
    published: pa.Table,
    known_rejects: pa.Table,
    *,
    spared: pa.Array,
    lost: pa.Array,
    scope: Scope,
    shard_rows: int,
    force: bool = False,
    apart: str = "",
) -> Plan:
    """Sort every item of the scope into exactly one action.

    items: `id`, `digest`, `row_digest`, ids unique: what the source offers this space.
    published: `id`, `content_digest`, `row_digest`, `partition`: the current release.
        Both have `item` too where rows are passages, which come and go with their item.
    known_rejects: `id`, `content_digest` of failures that retrying cannot help.
    spared: items that are not offered only because something passing went wrong.
    lost: items that are offered, but as records nobody can read.
    force: what is published is encoded again, so nothing is kept.
    apart: goes into the shards' names; empty where runs share them.
    """
    there = pc.index_in(items["id"], value_set=_one(published["id"]))
    same_content = _filled(pc.equal(items["digest"], _take(published["content_digest"], there)))
    same_row = _filled(pc.equal(items["row_digest"], _take(published["row_digest"], there)))
    keep = pc.and_(pc.and_(same_content, same_row), not force)
    failed = _pairs(known_rejects["id"], known_rejects["content_digest"])
    reject = pc.and_not(pc.is_in(_pairs(items["id"], items["digest"]), value_set=failed), keep)
    known = pc.is_in(items["digest"], value_set=_one(published["content_digest"]))
    known = pc.and_(known, not force)
    fresh = pc.invert(pc.or_(pc.or_(keep, reject), known))
    encode = pc.and_(fresh, _first_of_each(items["digest"], fresh))
    action = pc.case_when(pc.make_struct(keep, reject, encode), "keep", "reject", "encode", "reuse")
    chosen = pa.table({"id": items["id"], "action": action, "digest": items["digest"]})
    shards = pa.nulls(chosen.num_rows, pa.string()).to_pylist()
    todo = np.flatnonzero(np.asarray(encode.to_numpy(zero_copy_only=False)))
    work = chosen.take(pa.array(todo))
    ids, digests = work["id"].to_pylist(), work["digest"].to_pylist()
    for first, last in _cut(digests, shard_rows):
        key = shard_key(ids[first:last], digests[first:last], apart)
        for position in todo[first:last]:
            shards[position] = key
    chosen = chosen.append_column("shard", pa.array(shards, pa.string()))
    return Plan(pa.concat_tables([_cast(chosen), _deletes(items, published, spared, lost, scope)]))


def _deletes(
    items: pa.Table, published: pa.Table, spared: pa.Array, lost: pa.Array, scope: Scope
) -> pa.Table:
    """Published rows of the scope that are not offered; of a list of ids, only the lost ones.

    A passage whose item is offered in other passages goes in any scope: the item is in it.
    """
    item = _items(published)
    absent = pc.invert(pc.is_in(published["id"], value_set=_one(items["id"])))
    gone = pc.invert(pc.is_in(item, value_set=spared))
    if scope.ids is not None:
        gone = pc.and_(gone, pc.is_in(item, value_set=lost))
    elif scope.partition is not None:
        gone = pc.and_(gone, _filled(pc.equal(published["partition"], scope.partition)))
    gone = pc.or_(gone, pc.is_in(item, value_set=_items(items)))
    ids = published.filter(pc.and_(absent, gone))["id"]
    rows = {"id": ids, "action": pa.repeat("delete", len(ids))}
    nothing = pa.nulls(len(ids), pa.string())
    return _cast(pa.table({**rows, "digest": nothing, "shard": nothing}))


def _cut(digests: list[str], rows: int) -> Iterator[tuple[int, int]]:
    """Content-defined shards: (first, end) over items in the source's order.

    A boundary stands after an item whose digest says so, as in LBFS (Muthitacharoen et al.,
    2001): an inserted or removed item moves the boundaries of its own shard only, so finished
    shards of an interrupted run are found again. Sizes lie in [rows / 2, rows * 2].
    """
    first = 0
    for position, digest in enumerate(digests):
        size = position + 1 - first
        ends = size * 2 >= rows and int(digest[:8], 16) % max(rows // 2, 1) == 0
        if ends or size >= rows * 2 or position + 1 == len(digests):
            yield first, position + 1
            first = position + 1


def shard_key(ids: Sequence[str], digests: Sequence[str], apart: str = "") -> str:
    """The name of a shard of these items: 24 hex digits of a sha256 over ids and digests."""
    key = hashlib.sha256(apart.encode())
    for item, digest in zip(ids, digests, strict=True):
        key.update(f"{len(item)}:{item}{digest}".encode())
    return key.hexdigest()[:24]


def _first_of_each(values: pa.ChunkedArray, among: pa.Array) -> pa.Array:
    """True at the first occurrence of each value among the positions that `among` marks."""
    positions = np.flatnonzero(np.asarray(_one(among).to_numpy(zero_copy_only=False)))
    table = pa.table({"value": _one(values).take(pa.array(positions)), "at": positions})
    firsts = table.group_by("value", use_threads=False).aggregate([("at", "min")])["at_min"]
    marks = np.zeros(len(values), bool)
    marks[firsts.to_numpy()] = True
    return pa.array(marks)


def _items(rows: pa.Table) -> pa.Array:
    """The item of each row: the row's own id, unless rows are passages."""
    return _one(rows["item"] if "item" in rows.column_names else rows["id"])


def _pairs(ids: pa.ChunkedArray, digests: pa.ChunkedArray) -> pa.Array:
    """One string for each (id, digest); digests have no colon, so pairs stay distinct."""
    return _one(pc.binary_join_element_wise(digests, ids, ":"))


def _one(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _take(values: pa.ChunkedArray, indices: pa.Array) -> pa.Array:
    return _one(values).take(_one(indices))


def _filled(mask: pa.Array) -> pa.Array:
    return _one(pc.fill_null(mask, False))


def _cast(table: pa.Table) -> pa.Table:
    return table.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA)


@dataclass(frozen=True)
class Plan:
    """PLAN_SCHEMA rows: items in the source's order, then deletes."""

    table: pa.Table

    def count(self, action: str) -> int:
        return int(pc.sum(pc.equal(self.table["action"], action)).as_py() or 0)

    @property
    def shards(self) -> list[str]:
        """The keys of the shards to encode, in order."""
        return list(dict.fromkeys(k for k in self.table["shard"].to_pylist() if k))

    def of(self, *actions: str) -> pa.Table:
        return self.table.filter(pc.is_in(self.table["action"], pa.array(actions)))

    def shard(self, key: str) -> pa.Table:
        return self.table.filter(pc.equal(self.table["shard"], key))


PLAN_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("digest", pa.string()),
        pa.field("shard", pa.string()),
    ]
)
