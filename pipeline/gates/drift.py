"""Drift: are the newly encoded vectors distributed as those of the release before?

The statistic is the energy coefficient of inhomogeneity (Székely and Rizzo, "Energy statistics:
A class of statistics based on distances", Journal of Statistical Planning and Inference 143,
2013), over Euclidean distances:

    H = (2 E|X - Y| - E|X - X'| - E|Y - Y'|) / (2 E|X - Y|)

0 where both distributions are the same, 1 where they are two distinct points. docs/gates.md says
which changes it was measured to find, and which not.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.gates.gate import Gate

SAMPLE = 1000
"""Contents of each side that are compared: a million distances, whatever the tables hold."""
FEWEST = 200
"""With fewer on either side, chance alone moves H by what a changed topic does."""


class Drift:
    """The gate over H between samples of the newly encoded contents and of those before."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._old, self._new = Sample(SAMPLE), Sample(SAMPLE)

    def update(self, contents: Contents) -> None:
        sample = self._new if contents.is_new else self._old
        sample.add(contents.digests, contents.vectors)

    def result(self) -> Gate:
        old, new = self._old.vectors, self._new.vectors
        if min(len(old), len(new)) < FEWEST:
            message = (
                f"{len(new)} new and {len(old)} published contents: fewer than {FEWEST} are "
                "not compared"
            )
            return Gate("drift", True, None, self._limit, message)
        distance = inhomogeneity(old, new)
        ok = distance <= self._limit
        message = (
            f"the new vectors lie {distance:.3f} from the published ones (0 same, 1 nothing in "
            f"common; max_drift is {self._limit:g}, samples of {len(new)} and {len(old)})"
        )
        if not ok:
            message += (
                ": look what changed in the source (another language, markup, boilerplate, "
                "thumbnails); raise max_drift if it was meant"
            )
        return Gate("drift", ok, distance, self._limit, message)


class Sample:
    """The vectors of the `size` contents whose digests are smallest.

    sha256 is uniform, so this is a uniform sample of the distinct contents, and the same one in
    whatever order they come (bottom-k sampling: Cohen and Kaplan, PODC 2007).
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._digests = pa.nulls(0, pa.string())
        self._vectors: NDArray[np.float32] | None = None

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(n, dim) float32, n at most the size."""
        return np.zeros((0, 0), np.float32) if self._vectors is None else self._vectors

    def add(self, digests: pa.Array, vectors: NDArray[np.float32]) -> None:
        """Take (n, dim) float32 vectors of distinct or repeated contents into account."""
        known = vectors[:0] if self._vectors is None else self._vectors
        if len(known) == self._size:  # only what is below the largest can enter
            below = pc.less(digests, self._digests[-1]).to_numpy(zero_copy_only=False)
            digests, vectors = digests.filter(pa.array(below)), vectors[below]
        both = pa.concat_arrays([self._digests, digests])
        table = pa.table({"digest": both, "position": np.arange(len(both))})
        firsts = table.group_by("digest", use_threads=False).aggregate([("position", "min")])
        smallest = firsts.sort_by("digest").slice(0, self._size)
        positions = smallest["position_min"].to_numpy()
        is_known = positions < len(known)
        merged = np.empty((len(positions), vectors.shape[1]), np.float32)
        merged[is_known] = known[positions[is_known]]
        merged[~is_known] = vectors[positions[~is_known] - len(known)]
        self._digests, self._vectors = smallest["digest"].combine_chunks(), merged


def inhomogeneity(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """H between two samples, (n, dim) and (m, dim) unit float32, n and m at least 2; in [0, 1].

    Within a sample, distances of distinct members are averaged (the unbiased form), so that two
    halves of one distribution give about 0 whatever their size; below 0 is chance and becomes 0.
    """
    across = float(_distances(left, right).mean())
    within = [
        float(_distances(sample, sample).sum()) / (len(sample) * (len(sample) - 1))
        for sample in (left, right)
    ]
    return max(0.0, 1.0 - sum(within) / (2 * across)) if across else 0.0


def _distances(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, m) float64 chords of unit vectors; one below 1e-3 may be rounding."""
    squares = np.maximum(2.0 - 2.0 * (left @ right.T), 0.0)
    chords: NDArray[np.float64] = np.sqrt(squares, dtype="f8")
    return chords
