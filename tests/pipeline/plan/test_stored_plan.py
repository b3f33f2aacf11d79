"""What a plan stores is read by later stages and by other runs: names and columns stay."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest

from commonspace.pipeline.plan.plan import (
    PLAN_SCHEMA,
    PlanInputs,
    PlanOptions,
    make_plan,
    shard_name,
)
from commonspace.pipeline.source.records import EVERYTHING


def strings(*values: str) -> pa.Array:
    return pa.array(values, pa.string())


def shard_sizes(digests: list[str], rows: int) -> list[int]:
    """How many items each shard of so many new contents has; each is named by its own."""
    ids = strings(*(f"i{n}" for n in range(len(digests))))
    nothing = strings()
    published = {"id": nothing, "content_digest": nothing, "row_digest": nothing}
    inputs = PlanInputs(
        items=pa.table({"id": ids, "digest": strings(*digests), "row_digest": ids}),
        published=pa.table({**published, "partition": nothing}),
        known_rejects=pa.table({"id": nothing, "content_digest": nothing}),
        unavailable=nothing,
        unreadable=nothing,
    )
    plan = make_plan(inputs, PlanOptions(scope=EVERYTHING, shard_rows=rows))
    shards = [plan.shard_rows(shard) for shard in plan.shards]
    names = [shard_name(s["id"].to_pylist(), s["digest"].to_pylist()) for s in shards]
    assert plan.shards == names
    return [shard.num_rows for shard in shards]


def test_every_row_of_a_plan_has_an_id_and_an_action() -> None:
    required = {field.name for field in PLAN_SCHEMA if not field.nullable}
    assert required == {"id", "action"}
    assert PLAN_SCHEMA.names == ["id", "action", "digest", "shard"]


def test_a_shard_is_named_by_its_items_contents_and_salt() -> None:
    text = "salt1:ad12:bcd2"
    expected = hashlib.sha256(text.encode()).hexdigest()[:24]
    assert shard_name(["a", "bc"], ["d1", "d2"], "salt") == expected
    assert shard_name(["ab", "c"], ["d1", "d2"], "salt") != expected
    with pytest.raises(ValueError, match="shorter"):
        shard_name(["a", "bc"], ["d1"], "salt")


@pytest.mark.parametrize(
    ("ends", "rows", "sizes"),
    [
        ([], 8, [16, 16, 8]),  # no content says that its shard ends
        ([3], 8, [4, 16, 16, 4]),  # from half the size on
        ([2], 8, [16, 16, 8]),  # not before
        ([3, 4, 8], 8, [4, 5, 16, 15]),
        (list(range(40)), 2, [1] * 40),
        (list(range(40)), 5, [3] * 13 + [1]),
    ],
)
def test_shards_end_where_a_content_says_so(ends: list[int], rows: int, sizes: list[int]) -> None:
    half = max(rows // 2, 1)
    first = {n: 7 * half * (n + 1) + (0 if n in ends else half > 1) for n in range(40)}
    digests = [f"{number:08x}{n:056x}" for n, number in first.items()]
    assert shard_sizes(digests, rows) == sizes
