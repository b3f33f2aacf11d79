"""Recall: how many of the truly nearest rows a search finds, asked by rows of the release itself.

The nearest ones are found here, by inner products over the Parquet parts; LanceDB is not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index import vector_index
from commonspace.pipeline.index.connection import fetch_rows
from commonspace.pipeline.release.indexes import RECALL_K, VectorIndex
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import read_part
from commonspace.pipeline.storage.store import Store

SAMPLED_ROWS = 100
"""1,000 neighbours: a recall of 0.95 is known to 0.007 (one standard error, were they
independent)."""
BLOCK_ROWS = 8192
ROUNDING = 1e-6
"""Rows whose cosines differ by less are equally near; float32 sums of unit vectors differ so."""


@dataclass(frozen=True)
class RecallQueries:
    """Rows of a release and what is truly nearest to them, themselves left out."""

    ids: list[str]
    vectors: NDArray[np.float32]
    """(n, dim)."""
    nearest: list[set[str]]
    """The ids of the MEASURED_K nearest rows of each, fewer where there are fewer."""
    least: NDArray[np.float32]
    """(n,), the cosine of the last of them."""


def sample_queries(table: Any, store: Store, contract: Contract, release: Release) -> RecallQueries:
    """SAMPLE rows at equal distances in the release's order, which mixes them by their ids' hash.

    table: holds the release; the rows that ask are taken from it. Every part is read once; beside
    one, memory holds a block of 100 x 8192 cosines. Raises ContractBroken where the table does
    not hold one of them.
    """
    at = np.unique(
        np.linspace(0, release.rows - 1, min(SAMPLED_ROWS, release.rows)).astype(np.int64)
    )
    ids, queries = _fetch_queries(table, store, contract, release, at)
    best = np.full((len(at), 0), -np.inf, np.float32), np.empty((len(at), 0), object)
    first = 0
    for part in release.parts:
        rows = read_part(store, part, contract, ["id", "vector"])
        names = rows["id"].to_numpy(zero_copy_only=False)
        vectors = _vectors(rows)
        for begin in range(0, len(names), BLOCK_ROWS):
            near = queries @ vectors[begin : begin + BLOCK_ROWS].T
            own = at - first - begin
            here = (own >= 0) & (own < near.shape[1])
            near[np.flatnonzero(here), own[here]] = -np.inf
            best = _best(best, near, names[begin : begin + BLOCK_ROWS])
        first += len(names)
    there = np.isfinite(best[0])
    nearest = [set(row[held]) for row, held in zip(best[1], there, strict=True)]
    least = np.where(there, best[0], np.inf).min(axis=1, initial=np.inf)
    return RecallQueries(ids, queries, nearest, least)


def measure_recall(table: Any, asked: RecallQueries, index: VectorIndex) -> float:
    """The share of the truly nearest rows that this search of the table finds, 1 where there are
    none; a row that is as near as the last of them counts as found.
    """
    hits = wanted = 0
    for item, vector, nearest, least in zip(
        asked.ids, asked.vectors, asked.nearest, asked.least, strict=True
    ):
        query = vector_index.nearest_query(table, vector, RECALL_K + 1, index)
        rows = query.select(["id", "_distance"]).to_arrow()
        pairs = zip(rows["id"].to_pylist(), rows["_distance"].to_pylist(), strict=True)
        others = [(other, 1 - distance) for other, distance in pairs if other != item]
        as_near = [o for o, cosine in others if o in nearest or cosine >= least - ROUNDING]
        hits += min(len(as_near), len(nearest))
        wanted += len(nearest)
    return hits / wanted if wanted else 1.0


def _fetch_queries(
    table: Any, store: Store, contract: Contract, release: Release, at: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.float32]]:
    """The ids of the rows at these places of the release, and their vectors."""
    ids: list[str] = []
    first = 0
    for part in release.parts:
        mine = at[(at >= first) & (at < first + part.rows)] - first
        if len(mine):
            ids += read_part(store, part, contract, ["id"])["id"].take(mine).to_pylist()
        first += part.rows
    rows = fetch_rows(table, ids, ["id", "vector"])
    places = pc.index_in(pa.array(ids, pa.string()), value_set=rows["id"].combine_chunks())
    if places.null_count:
        raise ContractBroken(f"LanceDB lacks rows of release {release.number}", item=release.space)
    return ids, _vectors(rows.combine_chunks().take(places))


def _vectors(rows: pa.Table) -> NDArray[np.float32]:
    """(rows, dim)."""
    flat = np.asarray(rows["vector"].combine_chunks().flatten(), np.float32)
    return flat.reshape(rows.num_rows, -1)


def _best(
    best: tuple[NDArray[np.float32], NDArray[Any]], near: NDArray[np.float32], names: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """The MEASURED_K best of those so far and of a block: (n, k) cosines and ids."""
    top = _top(near)
    cosines = np.hstack([best[0], np.take_along_axis(near, top, 1)])
    ids = np.hstack([best[1], names[top]])
    top = _top(cosines)
    return np.take_along_axis(cosines, top, 1), np.take_along_axis(ids, top, 1)


def _top(cosines: NDArray[np.float32]) -> NDArray[np.int64]:
    k = min(RECALL_K, cosines.shape[1])
    return np.argpartition(-cosines, k - 1, axis=1)[:, :k]
