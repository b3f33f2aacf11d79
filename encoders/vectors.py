"""Norms of vectors, the check that they are 1, and angles between unit vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.protocol import Failure, Reason

NORM_TOLERANCE = 1e-3
"""How far a norm may lie from 1, as `EncoderSpec.normalised` promises."""


def norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The Euclidean norm of each row of `vectors` (n, dim), (n,) float64.

    Summed in float64 without a copy of the vectors in that type.
    """
    row_norms: NDArray[np.float64] = np.sqrt(
        np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64, casting="safe")
    )
    return row_norms


def angles(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """The angle between rows, in radians, (n,) float64; both (n, dim) of unit norm.

    Half the chord is the sine of half the angle. It keeps its digits where acos(a . b) has
    lost them all: below 1e-4 in float32.
    """
    chords = np.linalg.norm(left.astype(np.float64) - right.astype(np.float64), axis=1)
    radians: NDArray[np.float64] = 2.0 * np.arcsin(np.minimum(chords / 2.0, 1.0))
    return radians


def largest_angle(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """The largest of `angles`, in radians; 0 where there are no rows."""
    return float(angles(left, right).max(initial=0.0))


def norm_failures(vectors: NDArray[np.float32]) -> dict[int, Failure]:
    """A failure for each row of `vectors` (n, dim) that is not finite or not of norm 1."""
    row_norms = norms(vectors)
    is_unit = np.abs(row_norms - 1.0) <= NORM_TOLERANCE
    return {
        int(row): Failure(Reason.BAD_VECTOR, f"the vector's norm is {row_norms[row]:.3g}, not 1")
        for row in np.flatnonzero(~is_unit)
    }
