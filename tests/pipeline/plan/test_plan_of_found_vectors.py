"""What the plan makes of contents whose vectors other releases hold, and which those may be."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.plan.plan import Plan, PlanInputs, PlanOptions, make_plan
from commonspace.pipeline.plan.vector_sources import ancestors
from commonspace.pipeline.source.records import EVERYTHING


def digest(content: int) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


def strings(values: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def planned(
    contents: list[int], published: list[int], elsewhere: dict[int, int], *, force: bool = False
) -> Plan:
    """The plan for items of these contents; `elsewhere`: the source of a content."""
    ids = [f"i{n}" for n in range(len(contents))]
    digests = [digest(content) for content in contents]
    old = [f"old{content}" for content in published]
    inputs = PlanInputs(
        items=pa.table({"id": ids, "digest": strings(digests), "row_digest": strings(ids)}),
        published=pa.table(
            {
                "id": strings(old),
                "content_digest": strings([digest(content) for content in published]),
                "row_digest": strings(old),
                "partition": pa.nulls(len(old), pa.string()),
            }
        ),
        known_rejects=pa.table({"id": strings([]), "content_digest": strings([])}),
        unavailable=pa.array([], pa.string()),
        unreadable=pa.array([], pa.string()),
        elsewhere=pa.table(
            {
                "digest": strings([digest(content) for content in elsewhere]),
                "source": pa.array(elsewhere.values(), pa.int64()),
            }
        ),
    )
    return make_plan(inputs, PlanOptions(scope=EVERYTHING, shard_rows=3, force=force))


some = st.integers(0, 12)


@given(
    contents=st.lists(some, min_size=1),
    published=st.lists(some, unique=True),
    elsewhere=st.dictionaries(some, st.integers(0, 2)),
)
def test_each_content_is_encoded_copied_or_known(
    contents: list[int], published: list[int], elsewhere: dict[int, int]
) -> None:
    rows = planned(contents, published, elsewhere).table.to_pylist()[: len(contents)]
    of_content = {c: [r for r in rows if r["digest"] == digest(c)] for c in contents}
    source_of_shard: dict[str, int] = {}
    for content, found in of_content.items():
        encoded = [row for row in found if row["action"] == "encode"]
        copied = [row for row in found if row["action"] == "reuse" and row["shard"]]
        is_known, is_elsewhere = content in published, content in elsewhere
        assert len(encoded) == (not is_known and not is_elsewhere)
        assert len(copied) == (not is_known and is_elsewhere)
        assert found.index((encoded + copied or found)[0]) == 0
        for row in copied:  # a shard is copied from one file
            assert (
                source_of_shard.setdefault(row["shard"], elsewhere[content]) == elsewhere[content]
            )
    encoded_shards = {row["shard"] for row in rows if row["action"] == "encode"}
    assert not encoded_shards & source_of_shard.keys()


def test_shards_that_could_not_be_copied_are_ones_to_encode() -> None:
    plan = planned([1, 2, 3, 1], [3], {1: 0, 2: 1})
    assert (plan.count("encode"), plan.count("reuse")) == (0, 4)
    (first, second) = plan.shards
    instead = plan.encoding({second})
    assert (instead.count("encode"), instead.count("reuse")) == (1, 3)
    assert instead.shards == [first, second]
    assert instead.table.schema == plan.table.schema
    assert plan.encoding(frozenset()).table.equals(plan.table)


@pytest.mark.parametrize(
    ("parents", "served", "expected"),
    [
        ({1: 0, 2: 1, 3: 2}, 3, [3, 2, 1]),
        ({1: 0, 2: 1, 3: 1}, 3, [3, 1]),  # 2 was rolled back
        ({1: 0, 2: 1, 3: 2}, 2, [2, 1]),  # 3 was rolled back, or never promoted
        ({2: 1, 5: 4, 6: 5}, 6, [6, 5, 2]),  # 2 is pinned, 3 and 4 were removed
        ({1: 0}, 4, []),  # the manifest of what is served is damaged
    ],
)
def test_what_the_served_release_was_made_from(
    parents: dict[int, int], served: int, expected: list[int]
) -> None:
    assert ancestors(parents, served) == expected
