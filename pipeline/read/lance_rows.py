"""The rows of the served release, from its version of the LanceDB table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.stored_columns import in_columns_of
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index.conditions import Condition, refused_condition
from commonspace.pipeline.index.connection import (
    connect,
    open_table,
    translating_store_errors,
    translating_table_errors,
)
from commonspace.pipeline.index.indexes import text_index, vector_index
from commonspace.pipeline.index.table import (
    Filter as LanceFilter,
)
from commonspace.pipeline.index.table import (
    Query,
    Table,
    check_table,
    fetch_rows,
    values_filter,
)
from commonspace.pipeline.read.filters import Filter
from commonspace.pipeline.read.rows import VectorQuery
from commonspace.pipeline.release.indexes import VectorIndex
from commonspace.pipeline.release.pointer import Current


class LanceRows:
    """One version of the table, opened when it is first needed."""

    def __init__(self, address: str, contract: Contract, pointer: Current) -> None:
        self._address, self._contract, self._pointer = address, contract, pointer
        self._space = contract.space

    @cached_property
    def table(self) -> Table:
        """The LanceDB table at the release's version.

        Raises:
            ContractBroken: the table or that version is gone, or belongs to another contract.
        """
        with translating_table_errors(self._space):
            table = open_table(connect(self._address), self._pointer.table)
        advice = f"Run `commonspace verify {self._space} --repair` to rebuild it."
        if table is None:
            raise ContractBroken("the LanceDB table is gone", item=self._space, do=advice)
        version = self._pointer.table_version
        try:
            with translating_store_errors(self._space):
                table.checkout(version)
        except (ValueError, RuntimeError) as error:
            raise ContractBroken(
                f"version {version} of the LanceDB table is gone", item=self._space, do=advice
            ) from error
        check_table(table, self._contract)  # the newest version may have other columns
        return table

    @property
    def is_open(self) -> bool:
        """Whether the table has been opened, and LanceDB been loaded for it."""
        return "table" in self.__dict__  # where `cached_property` keeps it

    def uses_index(self, query: VectorQuery) -> bool:
        """Whether the vector index answers the query; else every row is compared."""
        return self._index(query) is not None

    def by_ids(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in no particular order; ids that are missing are left out."""
        with translating_table_errors(self._space):
            return fetch_rows(self.table, ids)

    def nearest(self, query: VectorQuery) -> pa.Table:
        """See `Rows`. The vector index is used where its recall is high enough."""
        index, row_filter = self._index(query), _lance_filter(query.where)
        rows = self._nearest(query, index, row_filter)
        if index and row_filter is None and rows.num_rows < query.k:
            rows = self._nearest(query, None, row_filter)  # the probed partitions hold fewer
        similarity = pc.subtract(pa.scalar(1.0, pa.float32()), rows["_distance"])
        return rows.drop(["_distance"]).append_column("similarity", similarity)

    def matching(
        self,
        words: str,
        k: int,
        where: Filter,
        columns: Sequence[str],
        indexed_columns: Sequence[str],
    ) -> pa.Table:
        """The k rows that match some of the words best, best first, with the column `bm25`.

        Args:
            words: what is searched for.
            k: how many rows.
            where: which rows are looked at.
            columns: which columns are returned.
            indexed_columns: the columns that are searched.

        Raises:
            ContractBroken: a full-text index is gone, or the table is damaged.
            UserMistake: LanceDB refuses the SQL condition.
        """
        with translating_table_errors(self._space):
            existing = text_index.indexes_by_column(self.table.list_indices())
        missing = sorted(set(indexed_columns) - existing.keys())
        if missing:
            raise ContractBroken(
                f"the full-text index of {missing[0]!r} is gone",
                item=self._space,
                do=f"Run `commonspace verify {self._space} --repair` to rebuild it.",
            )
        query = text_index.match_query(self.table, words, indexed_columns, k, _lance_filter(where))
        rows = self._execute(query, [*columns, "_score"], where)
        return rows.rename_columns([*columns, "bm25"])

    def _index(self, query: VectorQuery) -> VectorIndex | None:
        indexes = self._pointer.indexes if not query.exact else None
        return indexes.usable if indexes else None

    def _nearest(
        self, query: VectorQuery, index: VectorIndex | None, row_filter: LanceFilter | None
    ) -> pa.Table:
        table_query = vector_index.nearest_query(
            self.table, query.vector, query.k, index, row_filter
        )
        return self._execute(table_query, [*query.columns, "_distance"], query.where)

    def _no_rows(self, columns: Sequence[str]) -> pa.Table:
        schema = self._contract.schema
        fields = [
            schema.field(name) if name in schema.names else pa.field(name, pa.float32())
            for name in columns
        ]
        return pa.schema(fields).empty_table()

    def _execute(self, query: Query, columns: Sequence[str], where: Filter) -> pa.Table:
        held = self.table.schema.names
        optional = self._contract.optional_columns
        stored = [name for name in columns if name in held or name not in optional]
        if isinstance(where, Mapping) and not where.keys() <= set(held):
            return self._no_rows(columns)  # the column is null in every row
        # LanceDB's error about a SQL condition is the user's mistake, any other a damaged table.
        translating = (
            translating_store_errors if isinstance(where, Condition) else translating_table_errors
        )
        try:
            with translating(self._space):
                rows = query.select(stored).to_arrow()
                return in_columns_of(self._contract, rows, columns)
        except (ValueError, RuntimeError) as error:
            if not isinstance(where, Condition):
                raise
            raise refused_condition(where, error) from error


def _lance_filter(where: Filter) -> LanceFilter | None:
    """The filter as LanceDB takes it; None for none."""
    if not where:
        return None
    return where.sql if isinstance(where, Condition) else values_filter(where)
