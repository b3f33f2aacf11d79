"""The rows of a release from its Parquet parts, searched by numpy: every search is exact.

A small release is read once and kept; of a larger one, a search reads every part again. A SQL
condition is LanceDB's here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.contract.arrays import empty_table, number_array, string_array
from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.index.conditions import Condition, ids_matching
from commonspace.pipeline.index.indexes.policy import EXACT_FLOATS
from commonspace.pipeline.read.filters import Filter
from commonspace.pipeline.read.rows import VectorQuery
from commonspace.pipeline.release.manifest import Part
from commonspace.pipeline.release.parts import bucket_of

KEPT_BYTES = 100_000_000
"""Of compressed parts: beside its vectors, a release may have long texts in its columns."""
LOOKED_UP_BYTES = 64_000_000
"""Of the parts in which ids are looked up: 40,000 rows x 384, which takes a tenth of the time in
which LanceDB is loaded."""
_LONGEST_BUCKET = 32


class ReadPart(Protocol):
    """Reads a part: some of its columns, by default all; with `ids`, only the rows with those."""

    def __call__(
        self, part: Part, columns: Sequence[str] | None = None, ids: pa.Array | None = None
    ) -> pa.Table: ...


class ParquetRows:
    """The parts of one release."""

    def __init__(self, contract: Contract, parts: Sequence[Part], read: ReadPart) -> None:
        """See `ReadPart`; the contract is the release's, with its columns."""
        self._contract, self._parts, self._read = contract, parts, read
        self._kept: dict[str, pa.Table] = {}

    @cached_property
    def is_small(self) -> bool:
        """Whether the rows are kept in memory: up to 52,000 rows x 384, 80 MB of vectors.

        It is the size from which a table gets a vector index by default.
        """
        floats = sum(part.rows for part in self._parts) * self._contract.spec.dim
        return floats < EXACT_FLOATS and sum(part.bytes for part in self._parts) < KEPT_BYTES

    def finds_quickly(self, ids: Sequence[str]) -> bool:
        """Whether `by_ids` reads so little that LanceDB would take longer to load."""
        return self.is_small or sum(p.bytes for p in self._parts_with(ids)) < LOOKED_UP_BYTES

    def by_ids(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in no particular order; ids that are missing are left out."""
        wanted, schema = string_array(ids), self._contract.schema
        tables = [empty_table(schema)]
        for part in self._parts_with(ids):
            if self.is_small:
                rows = self._rows(part)
                tables.append(rows.filter(pc.is_in(rows["id"], value_set=wanted)))
            else:
                tables.append(self._read(part, ids=wanted).cast(schema))
        return pa.concat_tables(tables)

    def nearest(self, query: VectorQuery) -> pa.Table:
        """See `Rows`; always exact. Of rows equally near, the one with the lesser id comes first.

        Raises:
            UserMistake: LanceDB refuses the SQL condition.
        """
        best = self._no_rows(query.columns)
        for part in self._parts:
            best = _nearest(pa.concat_tables([best, self._nearest_of(part, query)]), query.k)
        return best

    def _parts_with(self, ids: Sequence[str]) -> list[Part]:
        """The parts that may hold one of the ids: a part is of one bucket of its partition."""
        buckets = [bucket_of(item, _LONGEST_BUCKET) for item in ids]
        return [p for p in self._parts if any(bucket.startswith(p.bucket) for bucket in buckets)]

    def _rows(self, part: Part) -> pa.Table:
        rows = self._kept.get(part.key)
        if rows is None:
            rows = self._read(part).cast(self._contract.schema).combine_chunks()
            if self.is_small:
                self._kept[part.key] = rows
        return rows

    def _nearest_of(self, part: Part, query: VectorQuery) -> pa.Table:
        """The k nearest rows of a part, and those as near as the last of them, in any order."""
        rows = self._rows(part)
        # One product a row, whatever stands beside it: equal vectors are equally near.
        near = np.vecdot(vectors_of(rows, self._contract.spec.dim), query.vector)
        passing = _passing(rows, query.where)
        near_passing = near if passing is None else near[passing]
        chosen = np.arange(len(near_passing))
        if len(chosen) > query.k:
            kth = np.partition(near_passing, -query.k)[-query.k]
            chosen = np.flatnonzero(near_passing >= kth)
        positions = chosen if passing is None else passing[chosen]
        found = rows.select(query.columns).take(number_array(positions))
        return found.append_column("similarity", number_array(near[positions]))

    def _no_rows(self, columns: Sequence[str]) -> pa.Table:
        fields = [self._contract.schema.field(name) for name in columns]
        return empty_table(pa.schema([*fields, pa.field("similarity", pa.float32())]))


def _passing(rows: pa.Table, where: Filter) -> NDArray[np.intp] | None:
    """The positions of the rows that the filter keeps; None for all."""
    if not where or not rows.num_rows:
        return None
    if isinstance(where, Condition):  # LanceDB says which, as of a served release
        ids = ids_matching(rows.drop(["vector"]), where)
        masks = [pc.is_in(rows["id"], value_set=ids)]
    else:
        masks = [_has_one_of(rows[name], values) for name, values in where.items()]
    return np.flatnonzero(np.logical_and.reduce([mask.to_numpy() for mask in masks]))


def _has_one_of(column: pa.ChunkedArray, values: Sequence[Any]) -> pa.ChunkedArray:
    wanted = pa.array(values).cast(column.type)
    if pa.types.is_floating(column.type):  # to is_in, 0.0 and -0.0 are two values
        column, wanted = pc.add(column, 0.0), pc.add(wanted, 0.0)
    return pc.is_in(column, value_set=wanted)


def _nearest(rows: pa.Table, k: int) -> pa.Table:
    order = pc.sort_indices(rows, [("similarity", "descending"), ("id", "ascending")])
    return rows.take(order.slice(0, k))
