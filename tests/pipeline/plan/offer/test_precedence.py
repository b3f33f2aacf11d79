"""Runs of partitions in any order end where one run over everything ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.plan.offer.precedence import decide_precedence
from commonspace.pipeline.plan.plan import PlanInputs, PlanOptions, make_plan
from commonspace.pipeline.pull.versions import rank_of
from commonspace.pipeline.source.records import Scope

Rows = dict[str, tuple[str, str, int | None]]
"""By id: text, partition, the value of the column that decides."""
SCHEMA = pa.schema(
    [
        *(pa.field(n, pa.string()) for n in ("id", "digest", "row_digest", "partition")),
        pa.field("at", pa.int64()),
    ]
)
sources = st.dictionaries(
    st.sampled_from(["2026-11-18", "2026-11-19", "2026-11-20"]),
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(st.sampled_from(["x", "y", "z"]), st.none() | st.integers(0, 3)),
        max_size=5,
    ),
    min_size=1,
)


def table(rows: Rows, digest: str = "digest") -> pa.Table:
    values = [
        {
            "id": item,
            "digest": hashlib.sha256(text.encode()).hexdigest(),
            "row_digest": f"{partition} {at}",
            "partition": partition,
            "at": at,
        }
        for item, (text, partition, at) in rows.items()
    ]
    return pa.Table.from_pylist(values, SCHEMA).rename_columns({"digest": digest})


def after_run(day: str, source: Mapping[str, Rows], before: Rows, newest: str | None) -> Rows:
    """The rows after a run of one partition, whose file was read whole."""
    items, published = table(source[day]), table(before, "content_digest")
    elsewhere = table({i: row for i, row in before.items() if row[1] != day})
    precedence = decide_precedence(items, elsewhere, item_column="id", newest=newest)
    taken = {i: row for i, row in source[day].items() if i not in precedence.superseded}
    nothing = pa.array([], pa.string())
    plan = make_plan(
        PlanInputs(
            items=table(taken),
            published=published,
            known_rejects=published.slice(0, 0).select(["id", "content_digest"]),
            unavailable=pa.array(precedence.superseded, pa.string()),
            unreadable=nothing,
        ),
        PlanOptions(scope=Scope(day), shard_rows=4),
    )
    deleted = set(plan.rows("delete")["id"].to_pylist())
    changed = set(plan.rows("encode", "reuse")["id"].to_pylist())
    assert set(precedence.taken_over) <= changed
    kept = {i: row for i, row in before.items() if i not in deleted}
    return {**kept, **{i: row for i, row in taken.items() if i in changed}}


@settings(max_examples=60)
@given(data=st.data(), days=sources, newest=st.sampled_from([None, "at"]))
def test_the_order_of_runs_decides_nothing(
    data: st.DataObject,
    days: Mapping[str, Mapping[str, tuple[str, int | None]]],
    newest: str | None,
) -> None:
    source = {
        day: {item: (text, day, at) for item, (text, at) in rows.items()}
        for day, rows in days.items()
    }
    order = data.draw(st.permutations([*source, *data.draw(st.lists(st.sampled_from([*source])))]))
    rows: Rows = {}
    for day in order:
        rows = after_run(day, source, rows, newest)
    best: Rows = {}
    for day in source:
        for item, row in source[day].items():
            ranks = [rank_of(r[2] if newest else None, r[1]) for r in (row, best.get(item, row))]
            best[item] = row if ranks[0] >= ranks[1] else best[item]
    assert rows == best


def test_what_was_taken_over_and_what_is_older_is_told() -> None:
    items = table({"a": ("x", "2", None), "b": ("x", "2", None), "c": ("x", "2", None)})
    rivals = table({"a": ("y", "1", None), "b": ("y", "3", None), "c": ("y", "2", None)})
    precedence = decide_precedence(items, rivals, item_column="id", newest=None)
    assert (precedence.superseded, precedence.taken_over) == (("b",), ("a",))
    assert [(n.kind, n.count, n.examples) for n in precedence.notices] == [
        ("superseded", 1, ("b",)),
        ("taken_over", 1, ("a",)),
    ]
