"""How close one encoder's vectors come to another's of the same contents, and how much faster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.errors import EncoderError
from commonspace.encoders.protocol import Content, Encoder

NEIGHBOURS = 10
"""Nearest neighbours of an item that are compared."""
_CHUNK = 100
"""Contents that an encoder encodes before it is the other's turn."""


@dataclass(frozen=True)
class Fidelity:
    """How close two sets of vectors of the same contents are.

    Attributes:
        items: contents that were compared.
        cosine_mean, cosine_min: of the cosines row by row.
        neighbours: share of each item's ten nearest that both agree on; None under 100 items.
    """

    items: int
    cosine_mean: float
    cosine_min: float
    neighbours: float | None


def fidelity(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> Fidelity:
    """Compare row by row; both (n, dim) float32 of unit norm, n at least 1."""
    cosines = np.einsum("nd,nd->n", vectors.astype(np.float64), expected.astype(np.float64))
    overlap = None
    if len(vectors) >= 10 * NEIGHBOURS:
        pairs = zip(_nearest(vectors), _nearest(expected), strict=True)
        overlap = float(np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in pairs]))
    return Fidelity(len(vectors), float(cosines.mean()), float(cosines.min()), overlap)


def compare(exact: Encoder, other: Encoder, contents: Sequence[Content]) -> dict[str, Any]:
    """Encode `contents` with both encoders, which take turns so that both see the same load.

    Returns:
        the fields of `Fidelity`, and `times_as_fast`: `other` in relation to `exact`.

    Raises:
        EncoderError: no content could be encoded, or not the same ones by both.
    """
    chunks = [contents[start : start + _CHUNK] for start in range(0, len(contents), _CHUNK)]
    seconds = {exact: 0.0, other: 0.0}
    vectors: dict[Encoder, list[NDArray[np.float32]]] = {exact: [], other: []}
    for encoder in (exact, other):
        encoder.encode(contents[:8])  # the first batches of a shape compile kernels
    for chunk in chunks:
        for encoder in (exact, other):
            started = time.perf_counter()
            vectors[encoder].append(encoder.encode(chunk).vectors)
            seconds[encoder] += time.perf_counter() - started
    others, expected = (np.concatenate(vectors[encoder]) for encoder in (other, exact))
    if not len(others) or others.shape != expected.shape:
        raise EncoderError(
            f"the two encoders cannot be compared: of {len(contents)} contents, one encoded "
            f"{len(expected)} and the other {len(others)}"
        )
    return {**asdict(fidelity(others, expected)), "times_as_fast": seconds[exact] / seconds[other]}


def _nearest(vectors: NDArray[np.float32]) -> list[list[int]]:
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    nearest: list[list[int]] = np.argpartition(-similar, NEIGHBOURS, axis=1)[
        :, :NEIGHBOURS
    ].tolist()
    return nearest
