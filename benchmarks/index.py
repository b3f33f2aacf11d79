"""What a vector index costs and finds: `python benchmarks/index.py --rows 100000 --dim 384`.

Clustered unit vectors in a LanceDB table as commonspace makes it, searched as commonspace searches
it. Quoted: seconds to build; for each number of probes, recall of the ten nearest rows against
inner products in numpy, and the median time of a search.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.index.indexes import vector_index
from commonspace.pipeline.index.indexes.policy import REFINE, partition_count, probe_ladder
from commonspace.pipeline.release.indexes import RECALL_K, VectorIndex

QUERIES = 100
CENTRES = 2000
LATENT = 48
SPREAD = 0.7


def clustered(rows: int, dim: int) -> NDArray[np.float32]:
    """(rows, dim) unit vectors about 2,000 centres in 48 dimensions, with noise in all of them."""
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((CENTRES, LATENT), np.float32)
    turn = chance.standard_normal((LATENT, dim), np.float32) / np.float32(np.sqrt(LATENT))
    vectors = np.empty((rows, dim), np.float32)
    for first in range(0, rows, 20_000):
        block = vectors[first : first + 20_000]
        near = SPREAD * chance.standard_normal((len(block), LATENT), np.float32)
        block[:] = (centres[chance.integers(0, CENTRES, len(block))] + near) @ turn
        block += 0.1 * chance.standard_normal(block.shape, np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def search_all(
    table: Any, vectors: NDArray[np.float32], index: VectorIndex | None, where: str | None = None
) -> tuple[list[NDArray[np.float32]], float]:
    """The cosines that each query finds, and the median milliseconds of a search."""
    cosines, seconds = [], []
    for vector in vectors:
        began = time.perf_counter()
        query = vector_index.nearest_query(table, vector, RECALL_K + 1, index, where)
        rows = query.select(["id", "_distance"]).to_arrow()
        seconds.append(time.perf_counter() - began)
        cosines.append(1 - np.asarray(rows["_distance"].to_pylist(), np.float32))
    return cosines, 1000 * float(np.median(seconds))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=384)
    chosen = options.parse_args()
    vectors = clustered(chosen.rows, chosen.dim)
    queries = vectors[:: max(chosen.rows // QUERIES, 1)][:QUERIES]
    began = time.perf_counter()
    best = np.sort(np.stack([vectors @ query for query in queries]), axis=1)[:, ::-1]
    print(f"exact, numpy, {len(queries)} queries: {time.perf_counter() - began:.1f} s")
    least = best[:, RECALL_K]
    with tempfile.TemporaryDirectory() as folder:
        element = pa.list_(pa.field("element", pa.float32()), chosen.dim)
        flat = pa.array(vectors.reshape(-1))
        columns = {
            "id": pa.array([f"i{n}" for n in range(chosen.rows)]),
            "part": pa.array(np.arange(chosen.rows) % 100),
            "vector": pa.FixedSizeListArray.from_arrays(flat, type=element),
        }
        table = connect(folder).create_table("t", data=pa.table(columns))
        print(f"exact, LanceDB: {search_all(table, queries[:40], None)[1]:.1f} ms")
        began = time.perf_counter()
        vector_index.train(table, chosen.rows)
        whole = partition_count(chosen.rows)
        print(f"built in {time.perf_counter() - began:.1f} s, {whole} partitions")
        for nprobes in probe_ladder(whole):
            index = VectorIndex("ivf_sq", chosen.rows, whole, nprobes, REFINE, 0, 0, QUERIES)
            cosines, milliseconds = search_all(table, queries, index)
            hits = sum(
                int((query_cosines >= limit - 1e-6).sum()) - 1  # a query finds itself
                for query_cosines, limit in zip(cosines, least, strict=True)
            )
            recall = hits / (len(queries) * RECALL_K)
            print(f"{nprobes:>4} probes: recall {recall:.3f}, {milliseconds:.1f} ms")
        for where in ("part < 1", "part < 50"):
            _, slow = search_all(table, queries[:20], None, where)
            _, fast = search_all(table, queries[:20], index, where)
            print(f"where {where}: {fast:.1f} ms, exact {slow:.1f} ms")


if __name__ == "__main__":
    main()
