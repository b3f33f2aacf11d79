"""Recall: how many of the truly nearest rows a search finds, with rows of the release as queries.

The truth is computed here, by inner products over the Parquet parts, without LanceDB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index.indexes import vector_index
from commonspace.pipeline.index.table import Table, fetch_rows
from commonspace.pipeline.release.indexes import RECALL_K, VectorIndex
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import read_part
from commonspace.pipeline.storage.store import Store

SAMPLED_ROWS = 100
"""1,000 neighbours: a recall of 0.95 is known to 0.007 (one standard error, were they
independent)."""
QUERIES_AT_ONCE = 20
"""In one query of LanceDB: 60,000 rows of 384 numbers are searched 100 times in 0.4 s of CPU
instead of 0.9 s, with the same answers."""
BLOCK_ROWS = 8192
"""Of a part, how many rows are compared with the queries at once."""
ROUNDING = 1e-6
"""Rows whose cosines differ by less are equally near; float32 sums of unit vectors differ so."""


@dataclass(frozen=True)
class RecallQueries:
    """Rows of a release as queries, and the rows that are truly nearest to each."""

    ids: list[str]
    vectors: NDArray[np.float32]
    """(n, dim), unit."""
    nearest: list[set[str]]
    """The ids of the RECALL_K nearest rows of each, itself left out; of a small table fewer."""
    least: NDArray[np.float32]
    """(n,), the cosine of the last of them."""


def sample_queries(
    table: Table, store: Store, contract: Contract, release: Release
) -> RecallQueries:
    """SAMPLED_ROWS rows at equal distances in the release, whose order mixes ids by their hash.

    Every part is read once; beside one, memory holds a block of 100 x 8192 cosines.

    Args:
        table: holds the release; the vectors of the queries are taken from it.
        store: where the release lies.
        contract: the contract of the space.
        release: holds at least one row.

    Raises:
        ContractBroken: the table lacks one of the rows, or a part is damaged.
    """
    count = min(SAMPLED_ROWS, release.rows)
    sampled = np.unique(np.linspace(0, release.rows - 1, count).astype(np.int64))
    ids, queries = _fetch_queries(table, store, contract, release, sampled)
    best = np.full((len(sampled), 0), -np.inf, np.float32), np.empty((len(sampled), 0), object)
    first = 0
    for part in release.parts:
        rows = read_part(store, part, contract, ["id", "vector"])
        part_ids = rows["id"].to_numpy(zero_copy_only=False)
        vectors = vectors_of(rows, contract.spec.dim)
        for start in range(0, len(part_ids), BLOCK_ROWS):
            cosines = queries @ vectors[start : start + BLOCK_ROWS].T
            own = sampled - first - start
            is_in_block = (own >= 0) & (own < cosines.shape[1])
            cosines[np.flatnonzero(is_in_block), own[is_in_block]] = -np.inf
            best = _merge_nearest(best, cosines, part_ids[start : start + BLOCK_ROWS])
        first += len(part_ids)
    is_row = np.isfinite(best[0])
    nearest = [set(row[held]) for row, held in zip(best[1], is_row, strict=True)]
    least = np.where(is_row, best[0], np.inf).min(axis=1, initial=np.inf)
    return RecallQueries(ids, queries, nearest, least)


def measure_recall(table: Table, queries: RecallQueries, index: VectorIndex) -> float:
    """The share of the truly nearest rows that this search of the table finds.

    A row that is as near as the last of them counts as found; where there are none, it is 1.
    """
    hits = expected = 0
    answers = _search(table, queries.vectors, index)
    for item, (ids, cosines), nearest, least in zip(
        queries.ids, answers, queries.nearest, queries.least, strict=True
    ):
        others = [pair for pair in zip(ids, cosines, strict=True) if pair[0] != item]
        near = [other for other, cosine in others if other in nearest or cosine >= least - ROUNDING]
        hits += min(len(near), len(nearest))
        expected += len(nearest)
    return hits / expected if expected else 1.0


def _search(
    table: Table, vectors: NDArray[np.float32], index: VectorIndex
) -> Iterator[tuple[list[str], list[float]]]:
    """For each vector the ids of the RECALL_K + 1 rows that the index finds, and their cosines."""
    for start in range(0, len(vectors), QUERIES_AT_ONCE):
        block = vectors[start : start + QUERIES_AT_ONCE]
        query = vector_index.nearest_query(table, block, RECALL_K + 1, index)
        rows = query.select(["id", "_distance"]).to_arrow()
        for number in range(len(block)):
            # LanceDB leaves the column out where there is one vector.
            answer = rows.filter(pc.field("query_index") == number) if len(block) > 1 else rows
            yield answer["id"].to_pylist(), pc.subtract(1, answer["_distance"]).to_pylist()


def _fetch_queries(
    table: Table, store: Store, contract: Contract, release: Release, sampled: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.float32]]:
    """The ids and the vectors of the rows at these positions of the release."""
    ids: list[str] = []
    first = 0
    for part in release.parts:
        in_part = sampled[(sampled >= first) & (sampled < first + part.rows)] - first
        if len(in_part):
            ids += read_part(store, part, contract, ["id"])["id"].take(in_part).to_pylist()
        first += part.rows
    rows = fetch_rows(table, ids, ["id", "vector"])
    positions = pc.index_in(pa.array(ids, pa.string()), value_set=rows["id"].combine_chunks())
    if positions.null_count:
        raise ContractBroken(f"LanceDB lacks rows of release {release.number}", item=release.space)
    return ids, vectors_of(rows.combine_chunks().take(positions), contract.spec.dim)


def _merge_nearest(
    best: tuple[NDArray[np.float32], NDArray[Any]],
    cosines: NDArray[np.float32],
    ids: NDArray[Any],
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """The RECALL_K nearest of the best so far and of a block: (n, k) cosines and ids."""
    top = _top(cosines)
    candidates = np.hstack([best[0], np.take_along_axis(cosines, top, 1)])
    candidate_ids = np.hstack([best[1], ids[top]])
    top = _top(candidates)
    return np.take_along_axis(candidates, top, 1), np.take_along_axis(candidate_ids, top, 1)


def _top(cosines: NDArray[np.float32]) -> NDArray[np.int64]:
    """The columns of the RECALL_K largest of each row, in no order."""
    k = min(RECALL_K, cosines.shape[1])
    return np.argpartition(-cosines, k - 1, axis=1)[:, :k]
