"""What a plan makes of the published rows, and the account of it, against plain dictionaries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.plan.plan import PLAN_SCHEMA, Plan
from commonspace.pipeline.validate.account import FailedContents, count_outcomes
from commonspace.pipeline.validate.next_release import next_release_rows

CONTENTS = st.sampled_from("abcdef")
ACTIONS = st.sampled_from(["encode", "reuse", "keep", "reject"])


@dataclass
class World:
    """Published rows, what the plan does with ids, and which contents no encoder could read."""

    published: dict[str, str]
    planned: dict[str, tuple[str, str]]
    failed: dict[str, bool]
    """A content to whether it failed for good."""

    @property
    def plan(self) -> Plan:
        rows = [{"id": i, "action": action, "digest": digest, "shard": None}
                for i, (action, digest) in self.planned.items()]  # fmt: skip
        return Plan(pa.Table.from_pylist(rows, PLAN_SCHEMA))

    @property
    def successors(self) -> dict[str, str]:
        """The planned rows that get a vector."""
        return {i: digest for i, (action, digest) in self.planned.items()
                if action in ("encode", "reuse") and digest not in self.failed}  # fmt: skip

    @property
    def removed(self) -> set[str]:
        """Published ids that leave without a successor."""
        return {
            i for i, (action, digest) in self.planned.items()
            if i in self.published and (
                action in ("reject", "delete")
                or (action in ("encode", "reuse") and self.failed.get(digest, False))
            )
        }  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> World:
    ids = st.sampled_from([f"i{n}" for n in range(8)])
    published = draw(st.dictionaries(ids, CONTENTS, max_size=8))
    planned = draw(st.dictionaries(ids, st.tuples(ACTIONS, CONTENTS), max_size=8))
    # A content that is encoded is encoded for one row; the others reuse its vector.
    encoded: set[str] = set()
    for i, (action, digest) in list(planned.items()):
        if action == "keep":
            planned[i] = ("keep", published[i]) if i in published else ("encode", digest)
        if planned[i][0] == "encode":
            planned[i] = ("reuse" if digest in encoded else "encode", digest)
            encoded.add(digest)
    for i in published:
        if i not in planned and draw(st.booleans()):
            planned[i] = ("delete", published[i])
    return World(published, planned, draw(st.dictionaries(CONTENTS, st.booleans(), max_size=3)))


def strings(values: Any) -> pa.Array:
    return pa.array(list(values), pa.string())


def published_table(world: World) -> pa.Table:
    rows = list(world.published.items())
    columns = ([row[0] for row in rows], [row[1] for row in rows])
    half = len(rows) // 2  # in two chunks, as tables of several parts are
    chunks = [pa.chunked_array([c[:half], c[half:]], pa.string()) for c in columns]
    return pa.table(dict(zip(("id", "content_digest"), chunks, strict=True)))


@given(worlds())
def test_every_vector_has_the_rows_to_come(world: World) -> None:
    coming = next_release_rows(
        world.plan, published_table(world), strings(world.failed), strings(sorted(world.removed))
    )
    leaving = world.removed | set(world.successors)
    staying = {i: digest for i, digest in world.published.items() if i not in leaving}
    expected = Counter({**staying, **world.successors}.items())
    rows = zip(coming.rows["id"].to_pylist(), coming.rows["digest"].to_pylist(), strict=True)
    assert Counter(rows) == expected
    assert coming.has_changes == bool(world.successors or world.removed)

    newly_encoded = {digest for action, digest in world.planned.values() if action == "encode"}
    wanted = Counter(world.successors.values())
    first = {digest: i for i, digest in reversed(world.published.items())}
    of_published = [
        int(i in staying)
        + (wanted[digest] if first[digest] == i and digest not in newly_encoded else 0)
        for i, digest in world.published.items()
    ]
    assert coming.rows_by_published.tolist() == of_published
    unpublished = {d: n for d, n in wanted.items() if d not in first or d in newly_encoded}
    assert coming.rows_by_new_content == {d: n for d, n in unpublished.items() if n > 1}


@given(worlds(), st.integers(0, 3), st.integers(0, 3))
def test_every_item_is_counted_once(world: World, absent: int, pull_rejects: int) -> None:
    offered = sum(action != "delete" for action, _ in world.planned.values()) + pull_rejects
    accounting = count_outcomes(
        world.plan,
        FailedContents(
            all=strings(world.failed),
            permanent=strings(d for d, bad in world.failed.items() if bad),
        ),
        offered=offered,
        absent=absent,
        pull_rejects=pull_rejects,
        published_ids=strings(world.published),
    )
    ledger = accounting.ledger
    assert ledger.balances
    assert set(accounting.removed_ids.to_pylist()) == world.removed
    failing = [action for action, digest in world.planned.values()
               if action in ("encode", "reuse") and digest in world.failed]  # fmt: skip
    count = Counter(action for action, _ in world.planned.values())
    assert ledger.encoded == count["encode"] - failing.count("encode")
    assert ledger.reused == count["reuse"] - failing.count("reuse")
    assert ledger.kept == count["keep"]
    assert ledger.rejected == len(failing) + count["reject"] + pull_rejects
    assert ledger.deleted == len(world.removed)
    assert (ledger.absent, ledger.offered) == (absent, offered)
