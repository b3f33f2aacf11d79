"""Whether an engine computes the same vectors as PyTorch does without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.errors import EncoderError
from commonspace.encoders.vectors import largest_angle

FP32_TOLERANCE = 1e-4
"""Largest angle in radians between two engines' vectors in fp32; measured with OpenVINO: 7e-6."""


def require_agreement(
    vectors: NDArray[np.float32],
    expected: NDArray[np.float32],
    *,
    tolerance: float = FP32_TOLERANCE,
    engine: str,
    item: str,
    do: str,
) -> None:
    """Check that two engines computed the same vectors, each (n, dim) float32 of unit norm.

    Args:
        vectors: what `engine` computed.
        expected: what PyTorch computed from the same batch.
        tolerance: the largest angle in radians that is accepted.
        engine: its name, for the error.
        item: the encoder, for the error.
        do: how to compute without the engine, for the error.

    Raises:
        EncoderError: an angle is larger, or a vector is not finite.
    """
    angle = largest_angle(vectors, expected)
    if not angle <= tolerance:
        raise EncoderError(
            f"the vectors that {engine} computes lie {angle:.1e} rad from PyTorch's, "
            f"more than {tolerance:.0e}",
            item=item,
            do=do,
        )


def switch_off_advice(setting: str, *, speed: str) -> str:
    """How to do without an engine, for `require_agreement`'s `do`."""
    return f"{setting}: the vectors are the same, {speed}."
