"""How near one encoder's vectors come to another's, of the same contents."""

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
_PIECE = 100


@dataclass(frozen=True)
class Fidelity:
    """items: contents that were compared; cosine_mean, cosine_min: row by row;
    neighbours: share of each item's ten nearest that both agree on, None under 100 items."""

    items: int
    cosine_mean: float
    cosine_min: float
    neighbours: float | None


def fidelity(found: NDArray[np.float32], expected: NDArray[np.float32]) -> Fidelity:
    """Compare row by row; both (n, dim) float32 of unit norm, n at least 1."""
    cosines = np.einsum("nd,nd->n", found.astype(np.float64), expected.astype(np.float64))
    overlap = None
    if len(found) >= 10 * NEIGHBOURS:
        pairs = zip(_nearest(found), _nearest(expected), strict=True)
        overlap = float(np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in pairs]))
    return Fidelity(len(found), float(cosines.mean()), float(cosines.min()), overlap)


def compare(exact: Encoder, other: Encoder, contents: Sequence[Content]) -> dict[str, Any]:
    """Both encode `contents`, piece after piece in turn: fidelity, and how much faster.

    Raises:
        EncoderError: neither gives a vector for any of them.
    """
    pieces = [contents[start : start + _PIECE] for start in range(0, len(contents), _PIECE)]
    seconds = {exact: 0.0, other: 0.0}
    vectors: dict[Encoder, list[NDArray[np.float32]]] = {exact: [], other: []}
    for encoder in (exact, other):
        encoder.encode(contents[:8])  # the first batches of a shape compile kernels
    for piece in pieces:
        for encoder in (exact, other):
            began = time.perf_counter()
            vectors[encoder].append(encoder.encode(piece).vectors)
            seconds[encoder] += time.perf_counter() - began
    found, expected = (np.concatenate(vectors[encoder]) for encoder in (other, exact))
    if not len(found) or found.shape != expected.shape:
        raise EncoderError(f"{len(found)} and {len(expected)} contents could be encoded")
    return {**asdict(fidelity(found, expected)), "times_as_fast": seconds[exact] / seconds[other]}


def _nearest(vectors: NDArray[np.float32]) -> list[list[int]]:
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    nearest: list[list[int]] = np.argpartition(-similar, NEIGHBOURS, axis=1)[
        :, :NEIGHBOURS
    ].tolist()
    return nearest
