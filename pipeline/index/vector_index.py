"""The vector index of a LanceDB table: what there is, how one is built, how it is searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonspace.pipeline.index.policy import VectorIndexState, partition_count, probe_count
from commonspace.pipeline.release.indexes import VectorIndex

NAME = "vector_idx"
COLUMN = "vector"
ROWS_TO_TRAIN_ON = 64
"""Of each partition, a quarter of LanceDB's default: 195 partitions of 384 numbers were trained in
24 s instead of 47 s, and 32 probes found 0.984 and 0.981 of the nearest rows."""


def read_state(
    table: Any, listed: Sequence[Any], trained_rows: int | None
) -> VectorIndexState | None:
    """The table's index, at the version that is open; None where it has none of ours.

    listed: what `list_indices` gives. trained_rows: over how many rows it was trained, where that
    is known.
    """
    for one in listed:
        if one.name == NAME and is_ours(table, one):
            known = trained_rows or one.num_indexed_rows
            return VectorIndexState(
                one.num_indexed_rows, one.num_unindexed_rows, one.num_segments, known
            )
    return None


def foreign_indexes(table: Any, listed: Sequence[Any]) -> list[str]:
    """The names of the indices over vectors that somebody else has made."""
    over = [one for one in listed if one.columns == [COLUMN]]
    return [one.name for one in over if not (one.name == NAME and is_ours(table, one))]


def is_ours(table: Any, index: Any) -> bool:
    """Whether a listed index is of the one kind that we build."""
    stats = table.index_stats(index.name)
    return stats is not None and (stats.index_type, stats.distance_type) == ("IVF_SQ", "dot")


def train(table: Any, rows: int) -> None:
    """Train an index over all rows, in the place of the one that is there: one commit."""
    from lancedb.index import IvfSq

    # Vectors are unit: the inner product is the cosine. With LanceDB's own metric of that name a
    # quantised index gives twice the distance (github.com/lancedb/lancedb/issues/3530).
    config = IvfSq(
        distance_type="dot", num_partitions=partition_count(rows), sample_rate=ROWS_TO_TRAIN_ON
    )
    table.create_index(COLUMN, config=config, replace=True, name=NAME)


def nearest_query(
    table: Any,
    vector: NDArray[np.float32],
    k: int,
    index: VectorIndex | None,
    where: Any = None,
) -> Any:
    """A query for the k rows of the highest cosine; `_distance` is 1 - cosine.

    index: how to search the table's index; None compares every row. where: a filter, as SQL or
    as LanceDB's expression; rows are found for it wherever they are.
    """
    query = table.search(vector, vector_column_name=COLUMN).distance_type("dot").limit(k)
    if where is not None:
        query = query.where(where, prefilter=True)
    if index is None:
        return query.bypass_vector_index()
    return query.nprobes(probe_count(index, k, filtered=where is not None)).refine_factor(
        index.refine
    )
