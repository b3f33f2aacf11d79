"""Norms of vectors, and the angle between unit ones, exact where it is tiny."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.protocol import Failure, Reason


def norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The length of each row of `vectors` (n, dim), summed in float64 without a copy in it."""
    found: NDArray[np.float64] = np.sqrt(
        np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64, casting="safe")
    )
    return found


def angles(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Row by row, in radians, (n,) float64; both (n, dim) of unit norm.

    Half the chord is the sine of half the angle. It keeps its digits where acos(a . b) has
    lost them all: below 1e-4 in float32.
    """
    apart = np.linalg.norm(left.astype(np.float64) - right.astype(np.float64), axis=1)
    found: NDArray[np.float64] = 2.0 * np.arcsin(np.minimum(apart / 2.0, 1.0))
    return found


def largest_angle(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """The largest of `angles`, 0 where there are no rows."""
    return float(angles(left, right).max(initial=0.0))


NORM_TOLERANCE = 1e-3
"""As `EncoderSpec.normalised` promises."""


def norm_failures(vectors: NDArray[np.float32]) -> dict[int, Failure]:
    """A failure for each row of `vectors` (n, dim) that is not finite and of norm 1."""
    found = norms(vectors)
    good = np.abs(found - 1.0) <= NORM_TOLERANCE
    return {
        int(row): Failure(Reason.BAD_VECTOR, f"the vector's norm is {found[row]:.3g}, not 1")
        for row in np.flatnonzero(~good)
    }
