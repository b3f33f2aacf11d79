"""Encode's part of golden queries: their vectors, made beside those of the items."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.encoders.protocol import Encoder
from commonspace.pipeline.contract.columns import vector_type
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.plan.golden_check import golden_queries
from commonspace.pipeline.plan.golden_file import GoldenQuery
from commonspace.pipeline.workspace.work import Work

_FILE = "golden.parquet"


def keep_golden(work: Work, encoder: Encoder) -> None:
    """Encode the golden queries as queries, and keep their vectors for the gate.

    Raises:
        UserMistake: a query cannot be encoded.
        ContractBroken: the encoder breaks its protocol.
    """
    queries = golden_queries(work)
    if not queries or has_golden_vectors(work):
        return
    vectors = np.zeros((len(queries), work.spec.dim), np.float32)
    for kind in (str, bytes):  # an encoder takes texts or images, not both at once
        positions = [n for n, query in enumerate(queries) if isinstance(query.content, kind)]
        if positions:
            vectors[positions] = _encode([queries[n] for n in positions], work, encoder)
    flat = pa.array(vectors.reshape(-1), pa.float32())
    columns = {
        "shown": [query.shown for query in queries],
        "ids": [json.dumps(list(query.ids)) for query in queries],
        "k": [query.k for query in queries],
        "vector": pa.FixedSizeListArray.from_arrays(flat, type=vector_type(work.spec)),
    }
    work.run.store.put(work.path(_FILE), parquet_bytes(pa.table(columns)))


def has_golden_vectors(work: Work) -> bool:
    """Whether the run has encoded its golden queries."""
    return work.has(_FILE)


def read_golden_vectors(work: Work) -> list[dict[str, Any]]:
    """Of each golden query that was encoded `shown`, `ids` (JSON), `k` and its `vector`."""
    key = work.path(_FILE)
    data = work.run.store.read(key)
    return read_table(data, key).to_pylist() if data is not None else []


def _encode(queries: list[GoldenQuery], work: Work, encoder: Encoder) -> NDArray[np.float32]:
    """(n, dim) float32, unit."""
    encoded = encoder.encode([query.content for query in queries], purpose="query")
    for position, failure in {**encoded.failures, **encoded.unreadable}.items():
        raise UserMistake(
            f"the golden query {queries[position].shown} cannot be encoded: {failure.message}",
            item=str(work.run.collection.golden_file(work.space)),
        )
    if encoded.vectors.shape != (len(queries), work.spec.dim) or (
        bad_vectors(encoded.vectors, work.spec).any()
    ):
        raise ContractBroken("the encoder gave unusable vectors of golden queries")
    return encoded.vectors
