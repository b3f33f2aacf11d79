"""The last look at vectors before they leave an encoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.angles import norms
from encoders.protocol import Failure, Reason

NORM_TOLERANCE = 1e-3
"""As `EncoderSpec.normalised` promises."""


def unit_failures(vectors: NDArray[np.float32]) -> dict[int, Failure]:
    """A failure for each row of `vectors` (n, dim) that is not finite and of norm 1."""
    found = norms(vectors)
    good = np.abs(found - 1.0) <= NORM_TOLERANCE
    return {
        int(row): Failure(Reason.BAD_VECTOR, f"the vector's norm is {found[row]:.3g}, not 1")
        for row in np.flatnonzero(~good)
    }
