"""The golden gate: does a search of the release to come find what its owner says it must?"""

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

    Attributes:
        shown: The query as messages quote it.
        vector: (dim,) float32, unit.
        k: How many rows of the result count.
        expected: For each id that must be found, the digests of the contents that its rows hold
            in the release to come; none where it has no row there.
    """

    shown: str
    vector: NDArray[np.float32]
    k: int
    expected: Sequence[tuple[str, Sequence[str]]]


class GoldenRecall:
    """The gate over the share of expected ids that an exact search finds, in all queries together.

    A row is among the first k where fewer than k rows lie strictly nearer to the query.
    """

    def __init__(self, expectations: Sequence[Expectation], limit: float, remark: str = "") -> None:
        """`remark`: ends the gate's message."""
        self._expectations, self._limit, self._remark = expectations, limit, remark
        self._queries = np.stack([expectation.vector for expectation in expectations])
        self._largest_k = max(expectation.k for expectation in expectations)
        pairs = [
            (query, digest)
            for query, expectation in enumerate(expectations)
            for _, digests in expectation.expected
            for digest in digests
        ]
        self._expected_digests = pa.array(dict.fromkeys(d for _, d in pairs), pa.string())
        self._similarity: dict[tuple[int, str], float] = dict.fromkeys(pairs, -np.inf)
        self._queries_by_digest: dict[str, list[int]] = {}
        for query, digest in pairs:
            self._queries_by_digest.setdefault(digest, []).append(query)
        self._best = np.full((len(expectations), 0), -np.inf, np.float32)
        self._best_rows = np.zeros((len(expectations), 0), np.int64)

    def update(self, contents: Contents) -> None:
        used = np.flatnonzero(contents.rows)
        for first in range(0, len(used), _BLOCK):
            block = used[first : first + _BLOCK]
            similarity = self._queries @ contents.vectors[block].T
            self._keep_expected(contents.digests.take(pa.array(block)), similarity)
            self._keep_best(similarity, contents.rows[block])

    def result(self) -> Gate:
        missed = [
            f"{expectation.shown} wants {item!r}"
            for query, expectation in enumerate(self._expectations)
            for item, digests in expectation.expected
            if not any(self._count_nearer(query, digest) < expectation.k for digest in digests)
        ]
        total = sum(len(expectation.expected) for expectation in self._expectations)
        recall = 1 - len(missed) / total
        message = (
            f"{total - len(missed)} of {total} golden ids are among the first of their queries "
            f"(recall {recall:.1%}, min_golden_recall is {self._limit:.1%}){self._remark}"
        )
        if missed:
            message += f"; missed first: {missed[0]}"
        return Gate("golden", recall >= self._limit, recall, self._limit, message)

    def _count_nearer(self, query: int, digest: str) -> float:
        """How many rows lie strictly nearer to the query."""
        similarity = self._similarity[query, digest]
        if similarity == -np.inf:
            return np.inf
        return float(self._best_rows[query][self._best[query] > similarity + _TIE].sum())

    def _keep_expected(self, digests: pa.Array, similarity: NDArray[np.float32]) -> None:
        """Note how similar the expected contents among these are to the queries that want them."""
        is_expected = pc.is_in(digests, value_set=self._expected_digests).to_numpy(False)
        for column in np.flatnonzero(is_expected):
            digest = digests[int(column)].as_py()
            for query in self._queries_by_digest[digest]:
                self._similarity[query, digest] = float(similarity[query, column])

    def _keep_best(self, similarity: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Keep the nearest contents of each query; each stands for one row or more."""
        best = np.concatenate([self._best, similarity], axis=1)
        counts = np.concatenate([self._best_rows, np.broadcast_to(rows, similarity.shape)], axis=1)
        if best.shape[1] > self._largest_k:
            nearest = np.argpartition(-best, self._largest_k - 1, axis=1)[:, : self._largest_k]
            best, counts = (np.take_along_axis(a, nearest, axis=1) for a in (best, counts))
        self._best, self._best_rows = best, counts
