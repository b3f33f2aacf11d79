"""What every encoder promises, asked of every encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from commonspace.encoders.catalog import describe
from commonspace.encoders.protocol import FACTS, Content, Encoded, Encoder
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec
from tests.support.other_process import fingerprint_elsewhere

NAMES = [
    "hashed text",
    "hashed image",
    "minilm",
    "resnet18 untrained",
    "resnet18 local",
    "resnet50 local",
    "lite0",
]
BIT_EQUAL_ON_CPU = set(NAMES)
BAD: dict[str, list[Content]] = {"text": ["", " \u200b\n", "a\ud800"], "image": [b""]}


SLOW = {"resnet50 local", "lite0"}
"""Half a minute of a core each: played with the other networks, whenever encoders change."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.models) if n in SLOW else n for n in NAMES],
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(name: str, loaded: Callable[[str], Encoder]) -> Encoder:
    return loaded(name)


@pytest.fixture(scope="module")
def items(encoder: Encoder, contents: dict[str, list[Content]]) -> Sequence[Content]:
    return contents[encoder.spec.modality]


@pytest.fixture(scope="module")
def together(encoder: Encoder, items: Sequence[Content]) -> Encoded:
    return encoder.encode(items)


def assert_same(name: str, left: np.ndarray, right: np.ndarray) -> None:
    assert np.abs(left - right).max() <= 1e-5
    if name in BIT_EQUAL_ON_CPU:
        np.testing.assert_array_equal(left, right)


def test_vectors_are_unit_float32_of_the_specs_dim(encoder: Encoder, together: Encoded) -> None:
    assert together.vectors.shape == (64, encoder.spec.dim)
    assert together.vectors.dtype == np.float32
    norms = np.linalg.norm(together.vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(norms, 1.0, atol=1e-5)
    assert len(np.unique(together.vectors, axis=0)) == 64


def test_no_contents_no_vectors(encoder: Encoder) -> None:
    nothing = encoder.encode([])
    assert nothing.vectors.shape == (0, encoder.spec.dim)
    assert nothing.vectors.dtype == np.float32
    assert (len(nothing.positions), len(nothing.facts), len(nothing.failures)) == (0, 0, 0)


def test_facts_have_the_promised_keys_and_types(encoder: Encoder, together: Encoded) -> None:
    promised = FACTS[encoder.spec.modality]
    assert len(together.facts) == 64
    for facts in together.facts:
        assert {key: type(value) for key, value in facts.items()} == promised


def test_a_vector_alone_is_the_vector_among_others(
    name: str, encoder: Encoder, items: Sequence[Content], together: Encoded
) -> None:
    every = 16 if name.startswith(("resnet", "lite")) else 1
    for position in range(0, 64, every):
        alone = encoder.encode([items[position]]).vectors[0]
        assert_same(name, alone, together.vectors[position])


def test_neither_order_nor_subset_matters(
    name: str, encoder: Encoder, items: Sequence[Content], together: Encoded
) -> None:
    chosen = np.random.default_rng(1).permutation(64)[:17]
    some = encoder.encode([items[i] for i in chosen])
    assert_same(name, some.vectors, together.vectors[chosen])


def test_bad_items_are_failures_and_leave_the_others_as_they_were(
    name: str, encoder: Encoder, items: Sequence[Content], together: Encoded
) -> None:
    wrong: Content = b"bytes" if encoder.spec.modality == "text" else "text"
    bad = [*BAD[encoder.spec.modality], wrong]
    mixed = [x for pair in zip(items, bad, strict=False) for x in pair] + [items[len(bad)]]
    result = encoder.encode(mixed)
    assert sorted([*result.positions.tolist(), *result.failures]) == list(range(len(mixed)))
    assert sorted(result.failures) == list(range(1, 2 * len(bad), 2))
    assert all(failure.message for failure in result.failures.values())
    assert len(result.vectors) == len(result.facts) == len(bad) + 1
    np.testing.assert_allclose(result.vectors, together.vectors[: len(bad) + 1], atol=1e-5, rtol=0)
    if name in BIT_EQUAL_ON_CPU:
        np.testing.assert_array_equal(result.vectors, together.vectors[: len(bad) + 1])


def test_the_spec_is_what_describe_says_in_any_process(
    name: str, encoder: Encoder, reference: Callable[[str], EncoderReference]
) -> None:
    spec = describe(reference(name))
    assert encoder.spec == spec
    assert EncoderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert fingerprint_elsewhere(reference(name), without=("torch",)) == spec.fingerprint
