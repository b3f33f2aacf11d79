"""A limit may be reached and not passed, and every gate says how near it came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import hashed_spec
from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.gates.drift import Drift
from commonspace.pipeline.gates.duplicates import DuplicateVectors
from commonspace.pipeline.gates.spot import SpotCheckResult, spot_gate
from commonspace.pipeline.gates.unknown_texts import UnknownTexts
from commonspace.pipeline.gates.vectors import UnusableVectors

SPEC = replace(hashed_spec(4, "text"), tolerance=0.5)


def contents(seed: int, count: int, *, is_new: bool) -> Contents:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 4)).astype(np.float32) + np.float32(seed)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    digests = pa.array([f"{rng.integers(2**63):016x}" * 4 for _ in range(count)], pa.string())
    return Contents(
        digests=digests, vectors=vectors, rows=np.ones(count, np.int64), is_new=is_new,
        mostly_unknown=np.arange(count) % 4 == 0,
    )  # fmt: skip


@pytest.mark.parametrize(("limit", "passes"), [(0.2475, True), (0.247, False)])
def test_unknown_texts_at_their_limit_pass(limit: float, passes: bool) -> None:
    """Every row of the release to come counts once, whenever it was encoded."""
    gate = UnknownTexts(limit)
    gate.update(contents(0, 300, is_new=False))
    gate.update(replace(contents(1, 100, is_new=True), rows=np.arange(100) // 50 * 2))
    found = gate.result()
    assert (found.ok, found.value) == (passes, 0.2475)
    assert "99 of 400 rows" in found.message
    assert ("choose a model" in found.message) is not passes


def test_no_new_vector_is_no_unknown_text() -> None:
    assert UnknownTexts(0.0).result().value is None


def drift(limit: float) -> Drift:
    gate = Drift(limit)
    gate.update(contents(0, 300, is_new=False))
    gate.update(contents(1, 250, is_new=True))
    return gate


def test_drift_at_its_limit_passes() -> None:
    distance = drift(1.0).result().value
    assert distance is not None
    assert 0 < distance < 1
    at_limit = drift(distance).result()
    assert at_limit.ok
    assert "samples of 250 and 300" in at_limit.message
    assert not at_limit.message.endswith("if it was meant")
    over = drift(float(np.nextafter(distance, 0))).result()
    assert not over.ok
    assert over.message.endswith("raise max_drift if it was meant")


@pytest.mark.parametrize(("limit", "passes"), [(0.5, True), (0.49, False)])
def test_duplicates_at_their_limit_pass(limit: float, passes: bool) -> None:
    whole = contents(0, 4, is_new=True)
    vectors = whole.vectors.copy()
    vectors[1] = vectors[0]
    gate = DuplicateVectors(limit)
    gate.update(replace(whole, vectors=vectors))
    result = gate.result()
    assert (result.ok, result.value) == (passes, 0.5)
    assert result.message.startswith(
        "2 of 4 rows have a vector that other content has too (50.0%, max_duplicate_vectors is "
        f"{limit:.1%}; one vector stands for 2 contents)"
    )
    assert ("look whether" in result.message) != passes


def test_contents_are_told_apart_by_all_of_128_bits() -> None:
    whole = contents(0, 2, is_new=True)
    digests = pa.array([f"{'a' * 31}{last}{'b' * 32}" for last in "01"], pa.string())
    gate = DuplicateVectors(0.0)
    gate.update(replace(whole, digests=digests, vectors=whole.vectors[[0, 0]]))
    assert gate.result().value == 1.0
    gate = DuplicateVectors(0.0)
    gate.update(replace(whole, digests=digests.take([0, 0]), vectors=whole.vectors[[0, 0]]))
    assert gate.result().value == 0.0


def test_unusable_vectors_are_counted_among_the_new() -> None:
    gate = UnusableVectors(SPEC)
    assert gate.result().message == "0 of 0 vectors are not finite unit ones"
    new = contents(0, 3, is_new=True)
    gate.update(replace(new, vectors=new.vectors * np.float32([[1], [2], [0]])))
    gate.update(contents(1, 4, is_new=False))
    gate.update(contents(2, 2, is_new=True))
    result = gate.result()
    assert result.message == "2 of 5 vectors are not finite unit ones"
    assert (result.ok, result.value, result.limit) == (False, 2, 0)


def test_without_duplicates_none_are_counted() -> None:
    gate = DuplicateVectors(0.0)
    gate.update(contents(0, 4, is_new=True))
    result = gate.result()
    assert (result.ok, result.value) == (True, 0.0)
    assert "stands for" not in result.message


def test_a_spot_check_comes_back_as_it_was_stored() -> None:
    check = SpotCheckResult(
        limit=0.5, angle=0.25, item="a", checked=3, skipped=2, crashed=1, fault="is gone"
    )
    assert SpotCheckResult.from_json(check.to_json()) == check
    older = {key: value for key, value in check.to_json().items() if key != "killed"}
    assert SpotCheckResult.from_json(older) == replace(check, crashed=0)
    assert SpotCheckResult(limit=0.5) == SpotCheckResult(
        limit=0.5, angle=0.0, item="", checked=0, skipped=0, crashed=0, fault=""
    )


def test_a_spot_check_at_its_limit_passes() -> None:
    at_limit = SpotCheckResult(limit=0.5, angle=0.5, item="a", checked=2)
    assert at_limit.ok
    assert (at_limit.gate.ok, at_limit.gate.value, at_limit.gate.limit) == (True, 0.5, 0.5)
    over = replace(at_limit, angle=0.51)
    assert not over.ok
    assert "of 'a' is 0.51 rad from the vector of its content" in over.what
    faulty = replace(at_limit, fault="has no content")
    assert not faulty.ok
    assert faulty.gate.value is None
    assert "of 'a' has no content; the encoder's spec allows 0.5 rad (2 rows" in faulty.what


def test_the_gate_counts_the_checks_that_passed() -> None:
    good = SpotCheckResult(limit=0.5, angle=0.5, item="a", checked=2, skipped=3, crashed=1)
    bad = SpotCheckResult(limit=0.5, angle=0.9, item="b", checked=5, skipped=7)
    gate = spot_gate([good, replace(good, angle=0.1, crashed=0), bad], 2, SPEC)
    assert (gate.ok, gate.value) == (True, 0.5)
    assert gate.message.startswith("4 sampled rows were encoded again")
    assert "0.5 rad (tolerance 0.5); 6 could not be loaded any more; 1 crash the" in gate.message
    assert not spot_gate([good], 1, replace(SPEC, tolerance=0.4)).ok
    plain = spot_gate([replace(good, skipped=0, crashed=0)], 1, SPEC).message
    assert plain.endswith("(tolerance 0.5)")


def test_what_was_not_compared_is_said() -> None:
    for shards, message in ((0, "nothing was encoded"), (1, "no row could be compared")):
        gate = spot_gate([SpotCheckResult(limit=0.5, skipped=2)], shards, SPEC)
        assert (gate.ok, gate.value) == (True, None)
        assert gate.message.startswith(f"{message}; nothing was re-encoded; 2 could not be loaded")
