"""The plan: which items a space is missing, as a pure function of two tables.

An item ends in exactly one of
    keep     published, and nothing about it changed;
    reuse    its row changes, but a vector for its content exists or is made in this run;
             where another release holds it, it has a shard, into which the vector is copied;
    encode   content that the space has never seen;
    reject   content that failed before and would fail again;
and a published row of the scope that the source no longer offers is a `delete`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.source.records import Scope

ACTIONS = ("encode", "reuse", "keep", "reject", "delete")
PLAN_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("digest", pa.string()),
        pa.field("shard", pa.string()),
    ]
)

ELSEWHERE_SCHEMA = pa.schema([("digest", pa.string()), ("source", pa.int64())])
"""Contents that other releases hold."""


@dataclass(frozen=True)
class Plan:
    """PLAN_SCHEMA rows: items in the source's order, then deletes."""

    table: pa.Table

    def count(self, action: str) -> int:
        return int(pc.sum(pc.equal(self.table["action"], action)).as_py() or 0)

    @property
    def shards(self) -> list[str]:
        """The names of the shards to encode or to copy, in order."""
        return list(dict.fromkeys(name for name in self.table["shard"].to_pylist() if name))

    def rows(self, *actions: str) -> pa.Table:
        """The rows with one of these actions."""
        return self.table.filter(pc.is_in(self.table["action"], pa.array(actions)))

    def encoding(self, shards: AbstractSet[str]) -> Plan:
        """The plan where the contents of some shards to copy had to be encoded after all."""
        is_encoded = pc.is_in(self.table["shard"], value_set=pa.array(shards, pa.string()))
        action = pc.if_else(is_encoded, "encode", self.table["action"])
        return Plan(self.table.set_column(1, PLAN_SCHEMA.field("action"), action))

    def covers(self, published: pa.Table) -> bool:
        """Whether each published row (`id`) is offered or deleted, so that none stays unread."""
        planned = pc.is_in(published["id"], value_set=_flat(self.table["id"]))
        return bool(pc.all(planned, min_count=0).as_py())

    def shard_rows(self, shard: str) -> pa.Table:
        """The rows whose vectors a shard has."""
        return self.table.filter(pc.equal(self.table["shard"], shard))


@dataclass(frozen=True, kw_only=True)
class PlanInputs:
    """What the source offers a space, and what the space has already.

    Attributes:
        items: `id`, `digest`, `row_digest`, ids unique: what the source offers.
        published: `id`, `content_digest`, `row_digest`, `partition`: the current release.
            Both tables have `item` too where rows are passages, which come and go with their
            item.
        known_rejects: `id`, `content_digest` of failures that retrying cannot help.
        unavailable: Ids of items that are not offered, and whose published rows stay: their
            content could not be loaded for a transient reason, the run says nothing for certain of
            their file, or the row is newer than what is offered.
        unreadable: Ids of items that are offered, but as records nobody can read; their
            published rows go.
        elsewhere: `digest`, `source`: contents whose vectors other releases hold, and a number for
            the file that has each.
    """

    items: pa.Table
    published: pa.Table
    known_rejects: pa.Table
    unavailable: pa.Array
    unreadable: pa.Array
    elsewhere: pa.Table = field(default_factory=ELSEWHERE_SCHEMA.empty_table)


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How a run plans.

    Attributes:
        scope: What the run may touch.
        shard_rows: Items in a shard, about.
        force: Whether what is published is encoded again, so that nothing is kept.
        shard_salt: Goes into the shards' names; empty where runs share finished shards.
    """

    scope: Scope
    shard_rows: int
    force: bool = False
    shard_salt: str = ""


def make_plan(inputs: PlanInputs, options: PlanOptions) -> Plan:
    """Sort every item of the scope into exactly one action, and what to encode into shards."""
    items = inputs.items
    action, source = _actions(inputs, force=options.force)
    chosen = pa.table({"id": items["id"], "action": action, "digest": items["digest"]})
    chosen = chosen.append_column("shard", _shards(chosen, source, options))
    return Plan(pa.concat_tables([_as_plan_rows(chosen), _deletes(inputs, options.scope)]))


def shard_name(ids: Sequence[str], digests: Sequence[str], salt: str = "") -> str:
    """The name of a shard of these items: 24 hex digits of a sha256 over ids and digests."""
    name = hashlib.sha256(salt.encode())
    for item, digest in zip(ids, digests, strict=True):
        name.update(f"{len(item)}:{item}{digest}".encode())
    return name.hexdigest()[:24]


def _actions(inputs: PlanInputs, *, force: bool) -> tuple[pa.Array, pa.Array]:
    """The action of each item; for the first item of a content that lies elsewhere, its source."""
    items, published = inputs.items, inputs.published
    row = pc.index_in(items["id"], value_set=_flat(published["id"]))
    same_content = _no_nulls(pc.equal(items["digest"], _take(published["content_digest"], row)))
    same_row = _no_nulls(pc.equal(items["row_digest"], _take(published["row_digest"], row)))
    keep = pc.and_(pc.and_(same_content, same_row), not force)
    rejects = inputs.known_rejects
    failed = _pairs(rejects["id"], rejects["content_digest"])
    reject = pc.and_not(pc.is_in(_pairs(items["id"], items["digest"]), value_set=failed), keep)
    has_vector = pc.is_in(items["digest"], value_set=_flat(published["content_digest"]))
    has_vector = pc.and_(has_vector, not force)
    new = pc.invert(pc.or_(pc.or_(keep, reject), has_vector))
    first = pc.and_(new, _first_of_each(items["digest"], new))
    found = pc.index_in(items["digest"], value_set=_flat(inputs.elsewhere["digest"]))
    source = pc.if_else(first, _take(inputs.elsewhere["source"], found), None)
    encode = pc.and_(first, pc.is_null(source))
    action = pc.case_when(pc.make_struct(keep, reject, encode), "keep", "reject", "encode", "reuse")
    return action, source


def _shards(chosen: pa.Table, source: pa.Array, options: PlanOptions) -> pa.Array:
    """The shard of each item that is to be encoded, or copied from its source; null for others."""
    shards = pa.nulls(chosen.num_rows, pa.string()).to_pylist()
    for positions in _to_encode_and_to_copy(chosen, source):
        rows = chosen.take(pa.array(positions))
        ids, digests = rows["id"].to_pylist(), rows["digest"].to_pylist()
        for first, end in _shard_bounds(digests, options.shard_rows):
            name = shard_name(ids[first:end], digests[first:end], options.shard_salt)
            for position in positions[first:end]:
                shards[position] = name
    return pa.array(shards, pa.string())


def _to_encode_and_to_copy(chosen: pa.Table, source: pa.Array) -> Iterator[NDArray[np.int64]]:
    """The positions of what is encoded, then for each source of what is copied from it."""
    encode = _flat(pc.equal(chosen["action"], "encode"))
    yield np.flatnonzero(np.asarray(encode.to_numpy(zero_copy_only=False)))
    sources = np.asarray(pc.fill_null(_flat(source), -1).to_numpy(zero_copy_only=False))
    copied = np.flatnonzero(sources >= 0)
    in_order = copied[np.argsort(sources[copied], kind="stable")]
    yield from np.split(in_order, np.flatnonzero(np.diff(sources[in_order])) + 1)


def _deletes(inputs: PlanInputs, scope: Scope) -> pa.Table:
    """Published rows of the scope that are not offered; of a list of ids, the unreadable ones.

    A passage whose item is offered in other passages goes in any scope: the item is in it.
    """
    items, published = inputs.items, inputs.published
    item = _item_ids(published)
    absent = pc.invert(pc.is_in(published["id"], value_set=_flat(items["id"])))
    gone = pc.invert(pc.is_in(item, value_set=inputs.unavailable))
    if scope.ids is not None:
        gone = pc.and_(gone, pc.is_in(item, value_set=inputs.unreadable))
    elif scope.partition is not None:
        gone = pc.and_(gone, _no_nulls(pc.equal(published["partition"], scope.partition)))
    gone = pc.or_(gone, pc.is_in(item, value_set=_item_ids(items)))
    ids = published.filter(pc.and_(absent, gone))["id"]
    nulls = pa.nulls(len(ids), pa.string())
    action = pa.repeat("delete", len(ids))
    return _as_plan_rows(pa.table({"id": ids, "action": action, "digest": nulls, "shard": nulls}))


def _shard_bounds(digests: list[str], rows: int) -> Iterator[tuple[int, int]]:
    """Content-defined shards: (first, end) over items in the source's order.

    A shard ends after an item whose digest says so, as in LBFS (Muthitacharoen et al., 2001): an
    inserted or removed item moves the boundaries of its own shard only, so finished shards of an
    interrupted run are found again. Sizes lie in [rows / 2, rows * 2].
    """
    first = 0
    for position, digest in enumerate(digests):
        size = position + 1 - first
        ends = size * 2 >= rows and int(digest[:8], 16) % max(rows // 2, 1) == 0
        if ends or size >= rows * 2 or position + 1 == len(digests):
            yield first, position + 1
            first = position + 1


def _first_of_each(values: pa.ChunkedArray, among: pa.Array) -> pa.Array:
    """True at the first occurrence of each value among the positions that `among` marks."""
    positions = np.flatnonzero(np.asarray(_flat(among).to_numpy(zero_copy_only=False)))
    marked = pa.table({"value": _take(values, pa.array(positions)), "position": positions})
    firsts = marked.group_by("value", use_threads=False).aggregate([("position", "min")])
    is_first = np.zeros(len(values), bool)
    is_first[firsts["position_min"].to_numpy()] = True
    return pa.array(is_first)


def _item_ids(rows: pa.Table) -> pa.Array:
    """The item of each row: the row's own id, unless rows are passages."""
    return _flat(rows["item"] if "item" in rows.column_names else rows["id"])


def _pairs(ids: pa.ChunkedArray, digests: pa.ChunkedArray) -> pa.Array:
    """One string for each (id, digest); digests have no colon, so pairs stay distinct."""
    return _flat(pc.binary_join_element_wise(digests, ids, ":"))


def _flat(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _take(values: pa.ChunkedArray, positions: pa.Array) -> pa.Array:
    return _flat(values).take(_flat(positions))


def _no_nulls(mask: pa.Array) -> pa.Array:
    """The mask, false where it was null."""
    return _flat(pc.fill_null(mask, False))


def _as_plan_rows(table: pa.Table) -> pa.Table:
    return table.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA)
