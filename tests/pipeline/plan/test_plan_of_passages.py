"""Which passages leave a release: those that their item lost, or all of an item."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.plan.plan import PlanInputs, PlanOptions, make_plan
from commonspace.pipeline.pull.passages import passage_id
from commonspace.pipeline.source.records import EVERYTHING, Scope, sha256_hex
from tests.support.documents import passage_ids

pytest.importorskip("semantic_text_splitter")

offers = st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), max_size=3)
scopes = st.sampled_from([EVERYTHING, Scope("p1"), Scope("p2")]) | st.sets(
    st.sampled_from("abc")
).map(lambda ids: Scope(ids=frozenset(ids)))


def table_of(passages: dict[str, int], digest: str) -> pa.Table:
    """So many passages of each item, with their digests in that column."""
    rows = [(item, n) for item, count in passages.items() for n in range(count)]
    columns = {
        "id": [passage_id(*row) for row in rows],
        "item": [item for item, _ in rows],
        digest: [sha256_hex(repr(row)) for row in rows],
        "row_digest": ["r"] * len(rows),
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


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
    published = table_of(before, "content_digest")
    days = pa.array([day[item] for item in published["item"].to_pylist()], pa.string())
    published = published.append_column("partition", days)
    items = table_of(now, "digest")
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
            expected = set(passage_ids(item, count)) - set(passage_ids(item, now[item]))
        elif scope.ids is not None:
            expected = set(passage_ids(item, count)) if item in lost else set()
        else:
            expected = (
                set(passage_ids(item, count)) if scope.partition in (None, day[item]) else set()
            )
        assert gone & set(passage_ids(item, count)) == expected
