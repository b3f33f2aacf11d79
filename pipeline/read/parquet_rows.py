"""The rows of any release that is kept, from its Parquet parts.

LanceDB holds the served release only. An older one, or a candidate, is read here. A search reads
every part: it is exact, and slower. A SQL condition is LanceDB's here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.index.conditions import Condition, ids_matching
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
            UserMistake: LanceDB refuses the SQL condition.
        """
        best: list[pa.Table] = []
        for rows in self._candidates(query):
            best = [_top(pa.concat_tables([*best, rows]), query.k)]
        return best[0] if best else self._no_rows(query.columns)

    def _candidates(self, query: VectorQuery) -> Iterator[pa.Table]:
        """The rows of each part that `where` keeps, with their similarity."""
        schema = self._contract.schema
        for part in self._parts:
            rows = self._read(part, None).cast(schema)
            if isinstance(query.where, Condition):
                rows = _matching(rows, query.where)
            for name, values in query.where.items() if isinstance(query.where, Mapping) else ():
                wanted = pa.array(values).cast(schema.field(name).type)
                rows = rows.filter(pc.is_in(rows[name], value_set=wanted))
            near = vectors_of(rows, self._contract.spec.dim) @ query.vector
            yield rows.select(query.columns).append_column(
                "similarity", pa.array(near, pa.float32())
            )

    def _no_rows(self, columns: Sequence[str]) -> pa.Table:
        fields = [self._contract.schema.field(name) for name in columns]
        return pa.schema([*fields, pa.field("similarity", pa.float32())]).empty_table()


def _matching(rows: pa.Table, condition: Condition) -> pa.Table:
    """The rows for which a SQL condition is true: LanceDB says which, as of a served release."""
    if not rows.num_rows:
        return rows
    ids = ids_matching(rows.drop(["vector"]), condition)
    return rows.filter(pc.is_in(rows["id"], value_set=ids))


def _top(rows: pa.Table, k: int) -> pa.Table:
    order = pc.sort_indices(rows, [("similarity", "descending"), ("id", "ascending")])
    return rows.take(order.slice(0, k))
