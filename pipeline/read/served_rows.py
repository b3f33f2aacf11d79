"""The rows of the served release: from Parquet where that is quicker, else from LanceDB.

To load LanceDB takes as long as to read a small release from Parquet ten times. Both give the same
rows; of a similarity the last bits may differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from commonspace.pipeline.index.conditions import Condition
from commonspace.pipeline.read.filters import Filter
from commonspace.pipeline.read.lance_rows import LanceRows
from commonspace.pipeline.read.parquet_rows import ParquetRows
from commonspace.pipeline.read.rows import VectorQuery


class ServedRows:
    """One release, in its Parquet parts and in its version of the LanceDB table."""

    def __init__(self, lance: LanceRows, parquet: ParquetRows) -> None:
        self.lance, self.parquet = lance, parquet

    def by_ids(self, ids: Sequence[str]) -> pa.Table:
        """See `Rows`."""
        is_open = self.lance.is_open and not self.parquet.is_small
        rows = self.parquet if not is_open and self.parquet.finds_quickly(ids) else self.lance
        return rows.by_ids(ids)

    def nearest(self, query: VectorQuery) -> pa.Table:
        """See `Rows`. A vector index and a SQL condition are LanceDB's."""
        needs_lance = isinstance(query.where, Condition) or self.lance.uses_index(query)
        rows = self.parquet if self.parquet.is_small and not needs_lance else self.lance
        return rows.nearest(query)

    def matching(
        self,
        words: str,
        k: int,
        where: Filter,
        columns: Sequence[str],
        indexed_columns: Sequence[str],
    ) -> pa.Table:
        """See `LanceRows.matching`: only LanceDB has full-text indexes."""
        return self.lance.matching(words, k, where, columns, indexed_columns)
