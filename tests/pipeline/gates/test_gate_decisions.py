"""The gates as pure decisions: equal in every order, never stricter under a wider limit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from commonspace.encoders.hashed import hashed_spec
from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.gates.contents import Contents, VectorGate
from commonspace.pipeline.gates.drift import FEWEST, Drift, Sample, inhomogeneity
from commonspace.pipeline.gates.duplicates import DuplicateVectors
from commonspace.pipeline.gates.golden_recall import Expectation, GoldenRecall
from commonspace.pipeline.gates.ledger import Ledger, ScopeCounts, account_gates
from commonspace.pipeline.gates.spot import SpotCheckResult, spot_gate
from commonspace.pipeline.gates.vectors import UnusableVectors
from commonspace.pipeline.plan.plan import PLAN_SCHEMA, Plan
from commonspace.pipeline.validate.account import FailedContents, count_outcomes
from commonspace.pipeline.validate.next_release import next_release_rows

SPEC = hashed_spec(8, "text")
shares = st.floats(0, 1)


def digest(content: Any) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


def unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def contents(
    names: Sequence[Any], vectors: NDArray[np.float32], *, is_new: bool = True, rows: Any = None
) -> Contents:
    """Contents called by their names, one row each unless `rows` says otherwise."""
    counts = np.ones(len(names), np.int64) if rows is None else np.array(rows, np.int64)
    digests = pa.array([digest(n) for n in names], pa.string())
    return Contents(
        digests=digests, vectors=vectors, rows=counts, is_new=is_new,
        mostly_unknown=np.zeros(len(names), np.bool_),
    )  # fmt: skip


def pieces(whole: Contents, cuts: Sequence[int]) -> list[Contents]:
    """The contents in several files."""
    edges = sorted({0, len(whole.vectors), *(cut % (len(whole.vectors) + 1) for cut in cuts)})
    return [
        replace(whole, digests=whole.digests[a:b], vectors=whole.vectors[a:b], rows=whole.rows[a:b])
        for a, b in pairwise(edges)
    ]


def verdict(watcher: VectorGate, seen: Sequence[Contents]) -> Any:
    for one in seen:
        watcher.update(one)
    return watcher.result()


@st.composite
def some_contents(draw: st.DrawFn) -> Contents:
    """Up to 40 contents over few distinct vectors, some without a row."""
    count = draw(st.integers(1, 40))
    few = unit(np.random.default_rng(draw(st.integers(0, 99))).normal(size=(5, 8)))
    which = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    rows = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    return contents(range(count), few[which], rows=rows)


# --- the account -----------------------------------------------------------------------------


@given(shares, shares, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_wider_limit_never_refuses_more(
    one: float, other: float, rejected: int, deleted: int, kept: int
) -> None:
    ledger = Ledger(offered=rejected + kept, kept=kept, rejected=rejected, deleted=deleted)
    narrow, wide = (
        account_gates(
            ledger,
            ScopeCounts(deletable=kept + deleted, untouched=0, carried=0),
            GatesSection(max_reject_share=limit, max_deleted_share=limit),
        )
        for limit in sorted((one, other))
    )
    for before, after in zip(narrow, wide, strict=True):
        assert after.ok or not before.ok
        assert after.value == before.value


# --- duplicate vectors ------------------------------------------------------------------------


@given(some_contents(), st.lists(st.integers(0, 40), max_size=5), st.randoms())
def test_duplicates_are_the_same_in_any_order(
    whole: Contents, cuts: list[int], random: Any
) -> None:
    files = pieces(whole, cuts)
    random.shuffle(files)
    found = verdict(DuplicateVectors(0.3), files)
    there = whole.rows > 0
    keys = [vector.tobytes() for vector in whole.vectors[there]]
    alike = [keys.count(key) > 1 for key in keys]
    expected = whole.rows[there][alike].sum() / max(whole.rows.sum(), 1)
    assert found.value == pytest.approx(expected)
    assert found.ok == (expected <= 0.3)
    assert found == verdict(DuplicateVectors(0.3), [whole])


@given(some_contents(), shares, shares)
def test_duplicates_are_monotone_in_the_limit(whole: Contents, one: float, other: float) -> None:
    narrow, wide = (verdict(DuplicateVectors(x), [whole]) for x in sorted((one, other)))
    assert wide.ok or not narrow.ok


def test_one_content_in_many_rows_shares_its_vector_rightly() -> None:
    vectors = unit(np.ones((50_000, 8), np.float32))
    gate = verdict(DuplicateVectors(0.0), [contents(["same"] * 50_000, vectors)])
    assert (gate.ok, gate.value) == (True, 0.0)
    gate = verdict(DuplicateVectors(0.5), [contents(range(50_000), vectors)])
    assert (gate.ok, gate.value) == (False, 1.0)
    assert "one vector stands for 50000 contents" in gate.message
    assert "look whether the encoder" in gate.message


def test_nothing_seen_is_no_verdict() -> None:
    for watcher in (DuplicateVectors(0.0), Drift(0.0)):
        assert (watcher.result().ok, watcher.result().value) == (True, None)
    empty = contents([], np.zeros((0, 8), np.float32))
    for watcher in (DuplicateVectors(0.0), Drift(0.0), UnusableVectors(SPEC)):
        assert verdict(watcher, [empty]).ok


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 2.0])
def test_only_new_vectors_are_judged_unusable(bad: float) -> None:
    vectors = unit(np.ones((3, 8), np.float32))
    vectors[1] *= np.float32(bad)
    assert verdict(UnusableVectors(SPEC), [contents(range(3), vectors, is_new=False)]).ok
    gate = verdict(UnusableVectors(SPEC), [contents(range(3), vectors)])
    assert (gate.ok, gate.value) == (False, 1)


# --- drift ------------------------------------------------------------------------------------


def cloud(seed: int, count: int, centre: float = 0.0, spread: float = 1.0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, 8)) * spread
    vectors[:, 0] += centre
    return unit(vectors)


def drifted(old: NDArray[np.float32], new: NDArray[np.float32], limit: float) -> Any:
    before = contents([f"old {n}" for n in range(len(old))], old, is_new=False)
    after = contents([f"new {n}" for n in range(len(new))], new)
    return verdict(Drift(limit), [before, after])


def test_halves_of_one_distribution_do_not_drift() -> None:
    values = [drifted(cloud(n, 500), cloud(n + 100, 500), 0.01).value for n in range(20)]
    assert max(values) < 0.01


def test_a_distance_at_the_limit_is_no_drift() -> None:
    same = cloud(1, 500)
    assert (drifted(same, same, 0.0).ok, drifted(same, same, 0.0).value) == (True, 0.0)


def test_it_grows_with_the_distance() -> None:
    values = [drifted(cloud(1, 500), cloud(2, 500, far), 1.0).value for far in (0, 1, 2, 4, 8)]
    assert values == sorted(values)
    assert values[-1] > 0.2


def test_one_vector_for_everything_new_is_refused_by_default() -> None:
    new = np.repeat(cloud(3, 1), 500, axis=0)
    gate = drifted(cloud(1, 500), new, GatesSection().max_drift)
    assert not gate.ok
    assert "look what changed in the source" in gate.message


@pytest.mark.parametrize(("old", "new"), [(FEWEST - 1, 500), (500, FEWEST - 1), (0, 500)])
def test_few_contents_are_not_compared(old: int, new: int) -> None:
    gate = drifted(cloud(1, old), cloud(2, new, 50), 0.0)
    assert (gate.ok, gate.value) == (True, None)
    assert f"fewer than {FEWEST}" in gate.message


def test_points_have_all_or_nothing_in_common() -> None:
    one, other = cloud(1, 1).repeat(10, axis=0), cloud(2, 1).repeat(10, axis=0)
    assert inhomogeneity(one, one) == 0
    assert inhomogeneity(one, other) == pytest.approx(1, abs=1e-3)


finite = st.floats(-1, -(2**-10), width=32) | st.floats(2**-10, 1, width=32)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(2, 12), st.just(4)), elements=finite),
    arrays.arrays(np.float32, st.tuples(st.integers(2, 12), st.just(4)), elements=finite),
)
def test_it_is_symmetric_and_bounded(left: Any, right: Any) -> None:
    left, right = unit(left), unit(right)
    found = inhomogeneity(left, right)
    assert 0 <= found <= 1
    assert found == pytest.approx(inhomogeneity(right, left), abs=1e-9)


@given(st.lists(st.integers(0, 400), max_size=6), st.randoms(), st.integers(1, 60))
def test_a_sample_is_the_same_in_any_order(cuts: list[int], random: Any, size: int) -> None:
    names = [n % 300 for n in range(400)]  # a hundred contents come twice
    whole = contents(names, cloud(1, 300)[names])
    files = pieces(whole, cuts)
    random.shuffle(files)
    sample = Sample(size)
    for one in files:
        sample.add(one.digests, one.vectors)
    smallest = sorted(range(300), key=digest)[:size]
    assert np.array_equal(sample.vectors, cloud(1, 300)[smallest])


# --- golden queries ---------------------------------------------------------------------------


@given(st.integers(0, 999), st.lists(st.integers(0, 120), max_size=4), st.integers(1, 30))
def test_golden_recall_is_that_of_a_full_search(seed: int, cuts: list[int], k: int) -> None:
    random = np.random.default_rng(seed)
    vectors, queries = cloud(seed, 120), cloud(seed + 1, 4)
    rows = random.integers(0, 3, 120)
    wanted = random.integers(0, 120, (4, 5))
    golden = [
        Expectation(f"q{n}", queries[n], k, [(f"i{w}", [digest(w)]) for w in wanted[n]])
        for n in range(4)
    ]
    found = verdict(
        GoldenRecall(golden, 0.5), pieces(contents(range(120), vectors, rows=rows), cuts)
    )
    hits = 0
    for query, ids in zip(queries, wanted, strict=True):
        order = np.argsort(-(vectors @ query))
        listed = np.repeat(order, rows[order])[:k]
        hits += sum(one in listed for one in ids)
    assert found.value == pytest.approx(hits / 20)
    assert found.ok == (found.value >= 0.5)


def test_equally_near_rows_are_all_found() -> None:
    vectors = unit(np.ones((30, 8), np.float32))
    golden = [Expectation("q", vectors[0], 1, [("last", [digest(29)])])]
    assert verdict(GoldenRecall(golden, 1.0), [contents(range(30), vectors)]).ok


def test_what_has_no_row_is_missed() -> None:
    golden = [Expectation("'whale'", cloud(1, 1)[0], 10, [('it\'s "gone"', [])])]
    gate = verdict(GoldenRecall(golden, 1.0), [contents([], np.zeros((0, 8), np.float32))])
    assert (gate.ok, gate.value) == (False, 0.0)
    assert "missed first: 'whale' wants" in gate.message


# --- the spot check ---------------------------------------------------------------------------


def test_the_worst_spot_counts() -> None:
    spec = hashed_spec(8, "text")
    checks = [
        SpotCheckResult(limit=0.0, checked=4),
        SpotCheckResult(limit=0.0, checked=3, skipped=2),
    ]
    gate = spot_gate(checks, 2, spec)
    assert (gate.ok, gate.value, gate.limit) == (True, 0.0, 0.0)
    assert "7 sampled rows" in gate.message
    assert "2 could not be loaded" in gate.message
    looser = SpotCheckResult(limit=1.0, angle=1e-9, checked=1)
    assert not spot_gate([*checks, looser], 3, spec).ok


def test_what_was_not_compared_has_no_value() -> None:
    nothing = spot_gate([], 0, SPEC)
    assert (nothing.ok, nothing.value) == (True, None)
    assert nothing.message == "nothing was encoded; nothing was re-encoded"
    assert spot_gate([SpotCheckResult(limit=0.0, skipped=3)], 1, SPEC).value is None


# --- the release to come ----------------------------------------------------------------------


def plan_of(*rows: tuple[str, str, str | None]) -> Plan:
    ids, actions, digests = zip(*rows, strict=True)
    return Plan(pa.table([ids, actions, digests, [None] * len(ids)], schema=PLAN_SCHEMA))


published_rows = st.lists(st.sampled_from("abcd"), min_size=0, max_size=8)
planned_rows = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from("abcdef")), max_size=8, unique_by=lambda r: r[0]
)


@given(published_rows, planned_rows, st.sets(st.sampled_from("ef")), st.sets(st.integers(0, 8)))
def test_every_row_to_come_is_counted_once(
    held: list[str], wanted: list[tuple[int, str]], failed: set[str], deletes: set[int]
) -> None:
    """Whatever is kept, reused, encoded, failed and deleted: as a plain loop counts it."""
    published = pa.table(
        {
            "id": pa.array([str(n) for n in range(len(held))], pa.string()),
            "content_digest": pa.array(held, pa.string()),
        }
    )
    planned = {str(n): content for n, content in wanted}
    gone = {str(n) for n in deletes if n < len(held)} - planned.keys()
    actions = [(i, "reuse" if c in held else "encode", c) for i, c in planned.items()]
    plan = plan_of(*actions, *((i, "delete", None) for i in gone), ("k", "keep", "a"))
    coming = next_release_rows(
        plan, published, pa.array(failed, pa.string()), pa.array(gone, pa.string())
    )
    expected = {str(n): c for n, c in enumerate(held) if str(n) not in gone}
    expected |= {i: c for i, c in planned.items() if c not in failed}

    assert dict(zip(*coming.rows.to_pydict().values(), strict=True)) == expected
    new = set(planned.values()) - set(held) - failed
    total = int(coming.rows_by_published.sum())
    total += sum(coming.rows_by_new_content.get(content, 1) for content in new)
    assert total == len(expected)
    for content in set(held):
        at = [n for n, c in enumerate(held) if c == content]
        assert coming.rows_by_published[at].sum() == list(expected.values()).count(content)


def test_the_ledger_balances_over_failures() -> None:
    plan = plan_of(
        ("a", "encode", "1"), ("b", "encode", "2"), ("c", "reuse", "2"), ("d", "keep", "3"),
        ("e", "reject", "4"), ("f", "delete", None),
    )  # fmt: skip
    failed = FailedContents(all=pa.array(["2"]), permanent=pa.array(["2"]))
    found = count_outcomes(
        plan, failed, offered=6, absent=2, pull_rejects=1,
        published_ids=pa.array(["b", "d", "f", "z"]),
    )  # fmt: skip
    assert found.ledger.balances
    assert found.ledger == Ledger(
        offered=6, encoded=1, reused=0, kept=1, rejected=4, deleted=2, absent=2
    )
    assert sorted(found.removed_ids.to_pylist()) == ["b", "f"]
