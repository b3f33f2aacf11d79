"""The LanceDB table of a space: what is used of LanceDB's own class, its schema, rows by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import pyarrow as pa

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.stored_columns import check_schema

if TYPE_CHECKING:
    from lancedb.expr import Expr

PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
IDS_PER_FILTER = 4096

Filter: TypeAlias = "str | Expr"
"""A condition on rows: SQL, or LanceDB's expression."""


class Query(Protocol):
    """A search that has not run yet; the last four methods are those of a vector search."""

    def select(self, columns: list[str]) -> Query: ...
    def where(self, where: Filter, prefilter: bool = True) -> Query: ...
    def limit(self, limit: int) -> Query: ...
    def to_arrow(self) -> pa.Table: ...
    def distance_type(self, distance_type: str) -> Query: ...
    def bypass_vector_index(self) -> Query: ...
    def nprobes(self, nprobes: int) -> Query: ...
    def refine_factor(self, refine_factor: int) -> Query: ...


class MergeInsert(Protocol):
    """An update of rows by their id, which has not run yet."""

    def when_matched_update_all(self) -> MergeInsert: ...
    def when_not_matched_insert_all(self) -> MergeInsert: ...
    def use_index(self, use_index: bool) -> MergeInsert: ...
    def execute(self, new_data: pa.RecordBatchReader) -> object: ...


class ListedIndex(Protocol):
    """An index as `list_indices` describes it."""

    name: str
    index_type: str
    columns: list[str]
    num_indexed_rows: int
    num_unindexed_rows: int
    num_segments: int


class IndexStatistics(Protocol):
    """What `index_stats` says of an index."""

    index_type: str
    distance_type: str | None


class Table(Protocol):
    """An open LanceDB table: reads see one version of it, writes make the next one."""

    @property
    def name(self) -> str: ...
    @property
    def schema(self) -> pa.Schema: ...
    @property
    def version(self) -> int: ...
    def count_rows(self) -> int: ...
    def search(
        self, query: object = None, *, vector_column_name: str = ..., query_type: str = ...
    ) -> Query: ...
    def delete(self, where: Filter) -> object: ...
    def merge_insert(self, on: str) -> MergeInsert: ...
    def checkout(self, version: int) -> None: ...
    def checkout_latest(self) -> None: ...
    def list_versions(self) -> list[dict[str, Any]]: ...
    def add_columns(self, transforms: pa.Field) -> object: ...
    def optimize(self, *, cleanup_older_than: timedelta) -> object: ...
    def list_indices(self) -> Sequence[ListedIndex]: ...
    def index_stats(self, index_name: str) -> IndexStatistics | None: ...
    def drop_index(self, name: str) -> None: ...
    def create_index(
        self, column: str, *, config: object, replace: bool, name: str = ...
    ) -> None: ...


class Database(Protocol):
    """An open LanceDB database."""

    def open_table(self, name: str) -> Table: ...
    def create_table(
        self, name: str, *, data: pa.RecordBatchReader, schema: pa.Schema, mode: str = ...
    ) -> Table: ...
    def drop_table(self, name: str, *, ignore_missing: bool = ...) -> None: ...


def table_schema(contract: Contract) -> pa.Schema:
    """The contract's schema with `id` declared as the key, which concurrent merges need."""
    schema = contract.schema
    return schema.set(0, schema.field(0).with_metadata(PRIMARY_KEY))


def check_table(table: Table, contract: Contract) -> None:
    """Refuse a table that belongs to another contract.

    Raises:
        ContractBroken: the contract that it carries differs, or does not explain its columns.
    """
    check_schema(table.schema, contract, f"LanceDB table {table.name}")


def fetch_rows(table: Table, ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows with these ids, in no particular order; ids that are missing are left out."""
    tables = []
    for batch in id_batches(ids):
        query = table.search().where(ids_filter(batch)).limit(len(batch) * 2)
        tables.append((query.select(list(columns)) if columns else query).to_arrow())
    return pa.concat_tables(tables) if tables else table.schema.empty_table()


def id_batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in batches that one filter can hold."""
    for first in range(0, len(ids), IDS_PER_FILTER):
        yield ids[first : first + IDS_PER_FILTER]


def ids_filter(ids: Sequence[str]) -> Filter:
    """A filter for rows with these ids; built as an expression, so no id can be read as SQL."""
    from lancedb import expr  # lancedb takes two seconds to load

    return expr.col("id").isin(list(ids))


def values_filter(values: Mapping[str, Sequence[Any]]) -> Filter:
    """A filter for rows that have in each column, at least one, one of the given values."""
    from lancedb import expr  # lancedb takes two seconds to load

    first, *others = [
        expr.col(name) == expr.lit(each[0]) if len(each) == 1 else expr.col(name).isin(list(each))
        for name, each in values.items()
    ]
    combined = first
    for condition in others:
        combined = combined & condition
    return combined
