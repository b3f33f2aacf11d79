"""What the gates over vectors look at: the release to come, some contents at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.pipeline.gates.gate import Gate


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Some contents with their vectors, from one file.

    Attributes:
        digests: (n,) string, the content digests; a content may come again in another file.
        vectors: (n, dim) float32.
        rows: (n,) int64, how many rows of the release to come have their vector from here; 0
            where the row leaves. Over all files each row of the release is counted once.
        mostly_unknown: (n,) bool, whether the model did not know most tokens of a text; false where
            that is not recorded, and of images.
        is_new: Whether they were encoded in this run; else they are of the release before.
    """

    digests: pa.Array
    vectors: NDArray[np.float32]
    rows: NDArray[np.int64]
    mostly_unknown: NDArray[np.bool_]
    is_new: bool


class VectorGate(Protocol):
    """A gate that has to see every vector. What it keeps is bounded, or small for each row."""

    def update(self, contents: Contents) -> None:
        """Take some contents into account; the order of the calls changes nothing."""
        ...

    def result(self) -> Gate:
        """The verdict over all that was seen."""
        ...
