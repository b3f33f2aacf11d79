"""Golden queries: does a search of the release to come find what its owner says it must?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.gates.gate import Gate

_TIE = 1e-6
"""Similarities that differ by less are equal: the sums of one dot product in another order."""
_BLOCK = 4096
"""Rows compared at once with all queries; bounds the memory."""


@dataclass(frozen=True)
class Expectation:
    """One golden query, and what must be among its first `k` rows.

    vector: (dim,) float32, unit. wanted: for each id, the digests of the contents that its rows
    hold in the release to come; none where it has no row there.
    """

    shown: str
    vector: NDArray[np.float32]
    k: int
    wanted: Sequence[tuple[str, Sequence[str]]]


class GoldenRecall:
    """The share of the wanted ids that an exact search finds, over all queries together.

    A row is among the first k where fewer than k rows lie strictly nearer to the query.
    """

    def __init__(self, golden: Sequence[Expectation], limit: float, beside: str = "") -> None:
        self._golden, self._limit, self._beside = golden, limit, beside
        self._queries = np.stack([one.vector for one in golden])
        self._most = max(one.k for one in golden)
        pairs = [
            (query, digest)
            for query, one in enumerate(golden)
            for _, digests in one.wanted
            for digest in digests
        ]
        self._digests = pa.array(dict.fromkeys(digest for _, digest in pairs), pa.string())
        self._similar: dict[tuple[int, str], float] = dict.fromkeys(pairs, -np.inf)
        self._asking: dict[str, list[int]] = {}
        for query, digest in pairs:
            self._asking.setdefault(digest, []).append(query)
        self._best = np.full((len(golden), 0), -np.inf, np.float32)
        self._rows = np.zeros((len(golden), 0), np.int64)

    def update(self, contents: Contents) -> None:
        there = np.flatnonzero(contents.rows)
        for first in range(0, len(there), _BLOCK):
            at = there[first : first + _BLOCK]
            found = self._queries @ contents.vectors[at].T
            self._keep_wanted(contents.digests.take(pa.array(at)), found)
            self._keep_best(found, contents.rows[at])

    def result(self) -> Gate:
        missed = [
            f"{one.shown} wants {item!r}"
            for query, one in enumerate(self._golden)
            for item, digests in one.wanted
            if not any(self._nearer(query, digest) < one.k for digest in digests)
        ]
        total = sum(len(one.wanted) for one in self._golden)
        recall = 1 - len(missed) / total
        said = (
            f"{total - len(missed)} of {total} golden ids are among the first of their queries "
            f"(recall {recall:.1%}, min_golden_recall is {self._limit:.1%}){self._beside}"
        )
        if missed:
            said += f"; missed first: {missed[0]}"
        return Gate("golden", recall >= self._limit, recall, self._limit, said)

    def _nearer(self, query: int, digest: str) -> float:
        """How many rows lie strictly nearer to the query."""
        similar = self._similar[query, digest]
        if similar == -np.inf:
            return np.inf
        return float(self._rows[query][self._best[query] > similar + _TIE].sum())

    def _keep_wanted(self, digests: pa.Array, found: NDArray[np.float32]) -> None:
        for row in np.flatnonzero(pc.is_in(digests, value_set=self._digests).to_numpy(False)):
            digest = digests[int(row)].as_py()
            for query in self._asking[digest]:
                self._similar[query, digest] = float(found[query, row])

    def _keep_best(self, found: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """The `most` nearest contents of each query; each stands for one row or more."""
        best = np.concatenate([self._best, found], axis=1)
        counts = np.concatenate([self._rows, np.broadcast_to(rows, found.shape)], axis=1)
        if best.shape[1] > self._most:
            at = np.argpartition(-best, self._most - 1, axis=1)[:, : self._most]
            best, counts = (np.take_along_axis(one, at, axis=1) for one in (best, counts))
        self._best, self._rows = best, counts
