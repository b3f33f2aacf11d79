"""Which passages leave a release: those that their item lost, or all of an item."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.plan.plan import PlanInputs, PlanOptions, make_plan
from commonspace.pipeline.pull.passages import passage_id
from commonspace.pipeline.source.records import EVERYTHING, Scope, sha256_hex
from tests.support.documents import numbered

pytest.importorskip("semantic_text_splitter")

offers = st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), max_size=3)
scopes = st.sampled_from([EVERYTHING, Scope("p1"), Scope("p2")]) | st.sets(
    st.sampled_from("abc")
).map(lambda ids: Scope(ids=frozenset(ids)))


@settings(max_examples=150)
@given(before=offers, now=offers, scope=scopes, lost=st.sets(st.sampled_from("abc")))
def test_deletes_follow_the_item(
    before: dict[str, int], now: dict[str, int], scope: Scope, lost: set[str]
) -> None:
    """Of an offered item what it lost; of another one all or nothing, as its scope says."""
    day = {"a": "p1", "b": "p2", "c": "p2"}
    now = {i: n for i, n in now.items() if scope.partition in (None, day[i])}
    now = {i: n for i, n in now.items() if scope.ids is None or i in scope.ids}
    lost = {i for i in lost - now.keys() if scope.ids is None or i in scope.ids}
    rows = [(i, n) for i, count in before.items() for n in range(count)]
    published = pa.table(
        {
            "id": pa.array([passage_id(*row) for row in rows], pa.string()),
            "item": pa.array([i for i, _ in rows], pa.string()),
            "content_digest": pa.array([sha256_hex(repr(row)) for row in rows], pa.string()),
            "row_digest": pa.array(["r"] * len(rows), pa.string()),
            "partition": pa.array([day[i] for i, _ in rows], pa.string()),
        }
    )
    there = [(i, n) for i, count in now.items() for n in range(count)]
    items = pa.table(
        {
            "id": pa.array([passage_id(*row) for row in there], pa.string()),
            "item": pa.array([i for i, _ in there], pa.string()),
            "digest": pa.array([sha256_hex(repr(row)) for row in there], pa.string()),
            "row_digest": pa.array(["r"] * len(there), pa.string()),
        }
    )
    none = published.slice(0, 0).select(["id", "content_digest"])
    inputs = PlanInputs(
        items=items,
        published=published,
        known_rejects=none,
        unavailable=pa.array([], pa.string()),
        unreadable=pa.array(sorted(lost), pa.string()),
    )
    plan = make_plan(inputs, PlanOptions(scope=scope, shard_rows=4))
    gone = set(plan.rows("delete")["id"].to_pylist())
    for item, count in before.items():
        if item in now:
            expected = set(numbered(item, count)) - set(numbered(item, now[item]))
        elif scope.ids is not None:
            expected = set(numbered(item, count)) if item in lost else set()
        else:
            expected = set(numbered(item, count)) if scope.partition in (None, day[item]) else set()
        assert gone & set(numbered(item, count)) == expected
