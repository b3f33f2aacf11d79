"""pipeline/encode/golden.py"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.encoders.protocol import Encoder
from commonspace.pipeline.contract.columns import vector_type
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.plan.golden import _declared
from commonspace.pipeline.plan.golden_file import GoldenQuery
from commonspace.pipeline.workspace.work import Work

GOLDEN_VECTORS = "golden.parquet"


def keep_golden(work: Work, encoder: Encoder) -> None:
    """Encode the golden queries as queries, and keep their vectors for the gate.

    Raises UserMistake for a query that cannot be encoded.
    """
    golden = _declared(work)
    if not golden or work.has(GOLDEN_VECTORS):
        return
    vectors = np.zeros((len(golden), work.spec.dim), np.float32)
    for kind in (str, bytes):
        at = [n for n, one in enumerate(golden) if isinstance(one.content, kind)]
        if at:
            vectors[at] = _encoded([golden[n] for n in at], work, encoder)
    flat = pa.array(vectors.reshape(-1), pa.float32())
    table = {
        "shown": [one.shown for one in golden],
        "ids": [json.dumps(list(one.ids)) for one in golden],
        "k": [one.k for one in golden],
        "vector": pa.FixedSizeListArray.from_arrays(flat, type=vector_type(work.spec)),
    }
    work.run.store.put(work.path(GOLDEN_VECTORS), parquet_bytes(pa.table(table)))


def _encoded(golden: list[GoldenQuery], work: Work, encoder: Encoder) -> NDArray[np.float32]:
    encoded = encoder.encode([one.content for one in golden], purpose="query")
    for position, failure in encoded.failures.items():
        raise UserMistake(
            f"the golden query {golden[position].shown} cannot be encoded: {failure.message}",
            item=str(work.run.collection.golden_file(work.space)),
        )
    if encoded.vectors.shape != (len(golden), work.spec.dim) or (
        bad_vectors(encoded.vectors, work.spec).any()
    ):
        raise ContractBroken("the encoder gave unusable vectors of golden queries")
    return encoded.vectors
