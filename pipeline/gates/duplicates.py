"""Different contents with the same vector: the encoder does not tell them apart.

Texts that all become unknown tokens and photos that all decode to grey have one vector each,
finite and of norm 1. Equal contents share a vector rightly and do not count.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.gates.gate import Gate

_DIGEST_BYTES = 16
"""128 bits: among a billion vectors, two unlike ones agree with a chance of 1e-21."""


class DuplicateVectors:
    """The gate over the share of rows whose vector another content has too, bit for bit.

    Keeps 16 bytes a vector and 32 a content, whatever the width of the vectors.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._tables: list[pa.Table] = []

    def update(self, contents: Contents) -> None:
        used = np.flatnonzero(contents.rows)
        vectors = np.ascontiguousarray(contents.vectors)
        hashes = [blake2b(vectors[n], digest_size=_DIGEST_BYTES).digest() for n in used]
        digests = contents.digests.take(pa.array(used))
        columns = {
            "vector": pa.array(hashes, pa.binary(_DIGEST_BYTES)),
            "content": pc.utf8_slice_codeunits(digests, 0, 2 * _DIGEST_BYTES),
            "rows": contents.rows[used],
        }
        self._tables.append(pa.table(columns))

    def result(self) -> Gate:
        if not self._tables:
            return Gate("duplicate_vectors", True, None, self._limit, "no vector is new")
        groups = (
            pa.concat_tables(self._tables)
            .group_by("vector")
            .aggregate([("content", "count_distinct"), ("rows", "sum")])
        )
        shared = groups.filter(pc.greater(groups["content_count_distinct"], 1))
        rows, duplicates = (
            int(pc.sum(table["rows_sum"]).as_py() or 0) for table in (groups, shared)
        )
        most_contents = int(pc.max(shared["content_count_distinct"]).as_py() or 0)
        share = duplicates / rows if rows else 0.0
        message = (
            f"{duplicates} of {rows} rows have a vector that other content has too "
            f"({share:.1%}, max_duplicate_vectors is {self._limit:.1%}"
        )
        message += f"; one vector stands for {most_contents} contents)" if most_contents else ")"
        if share > self._limit:
            message += (
                ": look whether the encoder can tell these contents apart (another script or "
                "language, blank or cut texts, images that decode to one colour)"
            )
        return Gate("duplicate_vectors", share <= self._limit, share, self._limit, message)
