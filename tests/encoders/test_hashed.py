from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import Reason
from commonspace.encoders.text.validity import MAX_CHARACTERS, text_failure


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, Reason.WRONG_TYPE),
        (5, Reason.WRONG_TYPE),
        (b"bytes", Reason.WRONG_TYPE),
        ("", Reason.EMPTY_TEXT),
        (" \t\r\n\u00a0\u3000", Reason.EMPTY_TEXT),
        ("\u200b\u200d\ufeff\x00\x07", Reason.EMPTY_TEXT),
        ("\u3164\u2800", Reason.EMPTY_TEXT),
        ("ok \ud83d", Reason.INVALID_UNICODE),
        ("x" * (MAX_CHARACTERS + 1), Reason.TEXT_TOO_LONG),
    ],
)
def test_texts_that_cannot_be_encoded(content: object, reason: Reason) -> None:
    failure = text_failure(content)
    assert failure is not None
    assert failure.reason is reason


@pytest.mark.parametrize("text", [".", "0", "日", "👍🏽", "\u200b.", "http://x/y.png", "NaN"])
def test_texts_that_can(text: str) -> None:
    assert text_failure(text) is None


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=40), st.none()), max_size=12), st.integers(1, 64))
def test_any_texts_end_as_a_unit_vector_or_a_failure(texts: list[str | None], dim: int) -> None:
    result = HashedEncoder(dim, "text").encode(texts)  # type: ignore[arg-type]
    assert sorted([*result.positions.tolist(), *result.failures]) == list(range(len(texts)))
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-6)
    assert np.all(np.diff(result.positions) > 0)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=8))
def test_any_files_are_hashed_alone_as_together(files: list[bytes]) -> None:
    encoder = HashedEncoder(16, "image")
    together = encoder.encode(files)
    for row, position in enumerate(together.positions):
        alone = encoder.encode([files[position]]).vectors[0]
        np.testing.assert_array_equal(alone, together.vectors[row])


def test_like_texts_are_near_and_case_is_no_difference() -> None:
    v = (
        HashedEncoder(256, "text")
        .encode(["the old harbour bridge", "The OLD harbour bridges", "quantum yoghurt"])
        .vectors
    )
    assert v[0] @ v[1] > 0.85
    assert abs(v[0] @ v[2]) < 0.3


def test_another_process_makes_the_same_bits() -> None:
    script = (
        "from commonspace.encoders.hashed import HashedEncoder; import sys; "
        "sys.stdout.write(HashedEncoder(32, 'text').encode(['same bits']).vectors.tobytes().hex())"
    )
    there = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert there == HashedEncoder(32, "text").encode(["same bits"]).vectors.tobytes().hex()


def test_short_texts_are_hashed_by_the_thousand() -> None:
    texts = [f"a short text, number {i}" for i in range(5000)]
    encoder = HashedEncoder(256, "text")
    started = time.process_time()
    encoder.encode(texts)
    assert time.process_time() - started < 2.5
