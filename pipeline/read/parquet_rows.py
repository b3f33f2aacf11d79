"""The rows of any release that is kept, from its Parquet parts.

LanceDB holds the served release only. An older one, or a candidate, is read here. A search reads
every part: it is exact, and slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.read.rows import VectorQuery
from commonspace.pipeline.release.manifest import Part

ReadPart = Callable[[Part, Sequence[str] | None], pa.Table]


class ParquetRows:
    """The parts of one release; `read` reads the given columns of one of them."""

    def __init__(self, contract: Contract, parts: Sequence[Part], read: ReadPart) -> None:
        self._contract, self._parts, self._read = contract, parts, read

    def by_ids(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in no particular order; ids that are missing are left out."""
        wanted_ids = pa.array(ids, pa.string())
        tables = [self._contract.schema.empty_table()]
        for part in self._parts:
            if pc.any(pc.is_in(self._read(part, ["id"])["id"], value_set=wanted_ids)).as_py():
                rows = self._read(part, None)
                tables.append(rows.filter(pc.is_in(rows["id"], value_set=wanted_ids)))
        return pa.concat_tables([table.cast(self._contract.schema) for table in tables])

    def nearest(self, query: VectorQuery) -> pa.Table:
        """See `Rows`; always exact.

        Raises:
            UserMistake: `where` is SQL, which only LanceDB understands.
        """
        if isinstance(query.where, str) and query.where:
            raise UserMistake(
                "a SQL condition needs LanceDB, which holds the served release only",
                item=self._contract.space,
                do='At another release, write it as values: where={"genre": "novel"}.',
            )
        best: list[pa.Table] = []
        for rows in self._candidates(query, dict(query.where or {})):
            best = [_top(pa.concat_tables([*best, rows]), query.k)]
        return best[0] if best else self._no_rows(query.columns)

    def _candidates(self, query: VectorQuery, where: Mapping[str, Any]) -> Iterator[pa.Table]:
        """The rows of each part that `where` keeps, with their similarity."""
        schema = self._contract.schema
        for part in self._parts:
            rows = self._read(part, None).cast(schema)
            for name, value in where.items():
                is_equal = pc.equal(rows[name], pa.scalar(value).cast(schema.field(name).type))
                rows = rows.filter(pc.fill_null(is_equal, False))
            near = vectors_of(rows, self._contract.spec.dim) @ query.vector
            yield rows.select(query.columns).append_column(
                "similarity", pa.array(near, pa.float32())
            )

    def _no_rows(self, columns: Sequence[str]) -> pa.Table:
        fields = [self._contract.schema.field(name) for name in columns]
        return pa.schema([*fields, pa.field("similarity", pa.float32())]).empty_table()


def _top(rows: pa.Table, k: int) -> pa.Table:
    order = pc.sort_indices(rows, [("similarity", "descending"), ("id", "ascending")])
    return rows.take(order.slice(0, k))
