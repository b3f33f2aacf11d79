"""Laws of the plan, against a model of two dictionaries."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.plan.plan import PLAN_SCHEMA, Plan, PlanInputs, PlanOptions, make_plan
from commonspace.pipeline.source.records import EVERYTHING, Scope

Row = tuple[str, str, str | None]
"""content digest, row digest, partition."""

ACTIONS = {"encode", "reuse", "keep", "reject", "delete"}
PARTITIONS = ["p1", "p2", None]


def digest(content: object) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


@dataclass
class World:
    """What a source offers, what is published, and what failed before."""

    offered: dict[str, Row]
    published: dict[str, Row]
    failed: set[tuple[str, str]]
    scope: Scope

    def in_scope(self, item: str, row: Row) -> bool:
        if self.scope.ids is not None and item not in self.scope.ids:
            return False
        return self.scope.partition in (None, row[2])

    @property
    def items(self) -> dict[str, Row]:
        """The offered items that the run's scope covers."""
        return {item: row for item, row in self.offered.items() if self.in_scope(item, row)}

    def plan(self, shard_rows: int = 4) -> Plan:
        return planned(self.items, self.published, self.failed, self.scope, shard_rows)


def planned(
    items: dict[str, Row],
    published: dict[str, Row],
    failed: set[tuple[str, str]],
    scope: Scope = EVERYTHING,
    shard_rows: int = 4,
) -> Plan:
    def strings(values: Any) -> pa.ChunkedArray:
        values = list(values)  # in two chunks, as tables of several files are
        half = len(values) // 2
        return pa.chunked_array([values[:half], values[half:]], pa.string())

    offered = pa.table(
        {
            "id": strings(items),
            "digest": strings(row[0] for row in items.values()),
            "row_digest": strings(row[1] for row in items.values()),
        }
    )
    current = pa.table(
        {
            "id": strings(published),
            "content_digest": strings(row[0] for row in published.values()),
            "row_digest": strings(row[1] for row in published.values()),
            "partition": strings(row[2] for row in published.values()),
        }
    )
    rejects = pa.table(
        {"id": strings(i for i, _ in failed), "content_digest": strings(d for _, d in failed)}
    )
    none = pa.array([], pa.string())
    inputs = PlanInputs(
        items=offered, published=current, known_rejects=rejects, unavailable=none, unreadable=none
    )
    return make_plan(inputs, PlanOptions(scope=scope, shard_rows=shard_rows))


def actions(plan: Plan) -> dict[str, str]:
    rows = plan.table.select(["id", "action"]).to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["action"] for row in rows}


def applied(world: World, plan: Plan) -> dict[str, Row]:
    """The published rows after the plan was carried out without a failure."""
    chosen = actions(plan)
    after = {
        item: row
        for item, row in world.published.items()
        if chosen.get(item) not in {"delete", "reject"}
    }
    changed = {i for i, action in chosen.items() if action in {"encode", "reuse"}}
    return after | {item: world.items[item] for item in changed}


ids = st.sampled_from([f"i{n}" for n in range(12)] + ["é:1", "", "a\0"])
rows = st.tuples(
    st.sampled_from([digest(n) for n in range(6)]),
    st.sampled_from(["r1", "r2"]),
    st.sampled_from(PARTITIONS),
)
worlds = st.builds(
    World,
    st.dictionaries(ids, rows, max_size=12),
    st.dictionaries(ids, rows, max_size=12),
    st.sets(st.tuples(ids, st.sampled_from([digest(n) for n in range(6)])), max_size=6),
    st.sampled_from([EVERYTHING, Scope("p1"), Scope("p2"), Scope("none")])
    | st.builds(lambda chosen: Scope(ids=frozenset(chosen)), st.sets(ids, max_size=5)),
)
laws = settings(max_examples=60)


@laws
@given(world=worlds)
def test_every_item_is_in_exactly_one_action(world: World) -> None:
    plan = world.plan()
    assert plan.table.schema.equals(PLAN_SCHEMA)
    chosen = actions(plan)
    assert set(chosen.values()) <= ACTIONS
    items = [item for item, action in chosen.items() if action != "delete"]
    assert items == list(world.items)
    assert sum(plan.count(action) for action in ACTIONS) == plan.table.num_rows


@laws
@given(world=worlds)
def test_each_action_means_what_it_says(world: World) -> None:
    chosen = actions(world.plan())
    known = {row[0] for row in world.published.values()}
    for item, row in world.items.items():
        there = world.published.get(item, ("", "", None))
        unchanged = there[:2] == row[:2]
        failed = (item, row[0]) in world.failed
        assert (chosen[item] == "keep") == unchanged
        assert (chosen[item] == "reject") == (failed and not unchanged)
        assert chosen[item] != "encode" or row[0] not in known


@laws
@given(world=worlds)
def test_a_plan_converges(world: World) -> None:
    """Carried out, it leaves exactly what is offered, less what is known to fail."""
    plan = world.plan()
    chosen, after = actions(plan), applied(world, plan)
    for item, row in world.items.items():
        assert after.get(item, row)[:2] == row[:2]
        assert (item in after) == (chosen[item] != "reject")
    for item, row in after.items():
        if item not in world.items:
            assert row == world.published[item]
            assert world.scope.ids is not None or not world.in_scope(item, row)


@laws
@given(world=worlds)
def test_a_second_plan_keeps_all(world: World) -> None:
    after = World(world.offered, applied(world, world.plan()), world.failed, world.scope)
    again = after.plan()
    assert again.table.num_rows == again.count("keep") + again.count("reject")
    assert set(actions(again).values()) <= {"keep", "reject"}
    assert again.shards == []


@laws
@given(world=worlds)
def test_nothing_outside_the_scope_is_deleted(world: World) -> None:
    for item, action in actions(world.plan()).items():
        if action == "delete":
            assert world.scope.ids is None
            assert item not in world.items
            assert world.in_scope(item, world.published[item])


@laws
@given(world=worlds)
def test_each_new_content_is_encoded_once(world: World) -> None:
    plan = world.plan()
    encoded = Counter(plan.rows("encode")["digest"].to_pylist())
    published = {row[0] for row in world.published.values()}
    assert not set(encoded) & published
    assert set(encoded.values()) <= {1}
    for item, action in actions(plan).items():
        if action == "reuse":
            content = world.items[item][0]
            assert content in published or content in encoded


@laws
@given(world=worlds)
def test_known_failures_are_not_tried_again(world: World) -> None:
    tried = world.plan().rows("encode", "reuse").select(["id", "digest"]).to_pylist()
    assert not {(row["id"], row["digest"]) for row in tried} & world.failed


@laws
@given(world=worlds, size=st.integers(1, 6))
def test_shards_hold_what_is_encoded_in_order(world: World, size: int) -> None:
    plan = world.plan(size)
    encoded = plan.rows("encode")
    assert None not in encoded["shard"].to_pylist()
    assert plan.rows("keep", "reuse", "reject", "delete")["shard"].null_count == (
        plan.table.num_rows - encoded.num_rows
    )
    pieces = [item for key in plan.shards for item in plan.shard_rows(key)["id"].to_pylist()]
    assert pieces == encoded["id"].to_pylist()
    assert len(set(plan.shards)) == len(plan.shards)


@laws
@given(world=worlds)
def test_a_plan_is_a_function(world: World) -> None:
    assert world.plan().table.equals(world.plan().table)


def fresh(contents: range | list[int], row: str = "r") -> dict[str, Row]:
    return {f"item {n}": (digest(n), row, None) for n in contents}


def shards(items: dict[str, Row], rows: int, published: dict[str, Row] | None = None) -> list[str]:
    return planned(items, published or {}, set(), shard_rows=rows).shards


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000])
def test_shards_have_about_the_size_asked(rows: int, count: int) -> None:
    plan = planned(fresh(range(count)), {}, set(), shard_rows=rows)
    sizes = [plan.shard_rows(key).num_rows for key in plan.shards]
    assert sum(sizes) == count
    assert all(rows / 2 <= size <= rows * 2 for size in sizes[:-1])
    assert all(0 < size <= rows * 2 for size in sizes[-1:])


def test_shards_are_of_the_size_asked_on_average() -> None:
    plan = planned(fresh(range(20_000)), {}, set(), shard_rows=64)
    assert 20_000 / 64 * 0.7 < len(plan.shards) < 20_000 / 64 * 1.5


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_small_change_moves_few_shards(seed: int) -> None:
    """Of 80 shards, an insertion or a removal moves its own and rarely its neighbours."""
    rng = np.random.default_rng(seed)
    start = int(rng.integers(10**9))
    contents = list(range(start, start + 2000))
    before = set(shards(fresh(contents), 25))
    at = int(rng.integers(len(contents)))
    more = set(shards(fresh([*contents[:at], -1, *contents[at:]]), 25))
    less = set(shards(fresh(contents[:at] + contents[at + 1 :]), 25))
    assert len(more - before) <= 12
    assert len(less - before) <= 12


def test_a_typical_change_moves_one_or_two_shards() -> None:
    contents = list(range(2000))
    before = set(shards(fresh(contents), 25))
    moved = [
        len(set(shards(fresh([*contents[:at], -1, *contents[at:]]), 25)) - before)
        for at in range(0, 2000, 100)
    ]
    assert sorted(moved)[len(moved) // 2] <= 2


def test_shards_are_named_by_ids_and_contents_alone() -> None:
    items = fresh(range(100))
    names = shards(items, 10)
    assert shards(fresh(range(100), row="other"), 10) == names
    assert shards(items, 10, {"gone": (digest("gone"), "r", "p1")}) == names
    assert set(names).isdisjoint(shards({i + "x": r for i, r in items.items()}, 10))
    renamed = {i: (digest(f"other {i}"), r, p) for i, (_, r, p) in items.items()}
    assert set(names).isdisjoint(shards(renamed, 10))
    assert set(names).isdisjoint(shards(dict(reversed(items.items())), 10))


def test_a_list_of_ids_deletes_nothing() -> None:
    published = fresh(range(5))
    plan = planned({}, published, set(), Scope(ids=frozenset(published)))
    assert plan.table.num_rows == 0
    assert plan.table.num_rows == plan.count("keep") + plan.count("reject")


def test_an_item_that_moves_to_another_partition_is_not_deleted() -> None:
    published = {"a": (digest(1), "old", "p1"), "b": (digest(2), "r", "p1")}
    offered = {"a": (digest(1), "new", "p2")}
    assert actions(planned(offered, published, set(), Scope("p2"))) == {"a": "reuse"}
    moved = {**published, **offered}
    assert actions(planned({}, moved, set(), Scope("p1"))) == {"b": "delete"}


def test_null_partitions_belong_to_no_partition() -> None:
    published = fresh(range(3))
    assert actions(planned({}, published, set(), Scope("p1"))) == {}
    assert set(actions(planned({}, published, set())).values()) == {"delete"}


def test_ids_and_digests_of_rejects_are_not_confused() -> None:
    """A pair is one thing: neither half of another pair, nor their strings run together."""
    one, two = digest(1), digest(2)
    failed = {("a", one), (f"b:{one}", two), ("c", two)}
    offered = {"a": (two, "r", None), "b": (one, "r", None), "c": (one, "r", None)}
    assert "reject" not in actions(planned(offered, {}, failed)).values()
