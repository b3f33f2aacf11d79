"""LanceDB as we use it: one table a space, opened with care, filtered without strings."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from commonspace.pipeline.contract.contract import Contract, check_schema
from commonspace.pipeline.contract.layout import lancedb_address
from commonspace.pipeline.errors import ContractBroken, StoreFailed
from commonspace.pipeline.storage.s3_errors import is_store_error, store_failure

PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
IDS_PER_FILTER = 4096


@contextmanager
def translating_store_errors(item: str) -> Iterator[None]:
    """Turns what LanceDB says of a bucket that fails it into StoreFailed.

    A panic of the Rust below it, as some damaged files cause, becomes a RuntimeError.
    """
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        if is_store_error(error):
            raise store_failure(error, item) from error
        raise
    except Exception as error:
        if type(error).__name__ != "RustPanic":  # a class that cannot be imported
            raise
        raise RuntimeError(f"LanceDB panicked: {error}") from error


@contextmanager
def translating_table_errors(space: str) -> Iterator[None]:
    """Turns LanceDB's own errors into one that says how the table is mended."""
    try:
        with translating_store_errors(space):
            yield
    except (RuntimeError, OSError, ValueError) as error:
        said = re.sub(r",? \S+\.rs:[0-9:]+.*", "", (str(error).splitlines() or [""])[0])[:200]
        if os.strerror(errno.ENOSPC) in said:
            raise StoreFailed(
                f"LanceDB could not write: {said}",
                item=space,
                retry=True,
                do="The disk is full: free space, then run again; finished work is kept.",
            ) from error
        raise ContractBroken(
            f"the LanceDB table cannot be read or written: {said}",
            item=space,
            retry=True,
            do=f"`commonspace verify {space} --repair` rebuilds it from Parquet.",
        ) from error


def connect(address: str) -> Any:
    """The LanceDB database of a warehouse; a bucket's access is read from the environment."""
    # Lance warns whenever a table is created; a warning that is no news trains no one.
    os.environ.setdefault("LANCE_LOG", "error")
    import lancedb  # two seconds that most stages need not pay

    place = lancedb_address(address)
    with translating_store_errors(place):
        return lancedb.connect(place)


def open_table(database: Any, name: str) -> Any | None:
    """The table at its latest version, or None where there is none."""
    try:
        with translating_store_errors(f"LanceDB table {name}"):
            return database.open_table(name)
    except (ValueError, RuntimeError) as error:
        if "not found" in str(error).lower():
            return None
        raise


def table_schema(contract: Contract) -> pa.Schema:
    """The contract's schema with `id` declared as the key, which concurrent merges need."""
    schema = contract.schema
    return schema.set(0, schema.field(0).with_metadata(PRIMARY_KEY))


def check_table(table: Any, contract: Contract) -> None:
    """Refuse a table that belongs to another contract. Raises ContractBroken."""
    check_schema(table.schema, contract, f"LanceDB table {table.name}")


def ids_filter(ids: Sequence[str]) -> Any:
    """A filter for some ids; built as an expression, so no id can be read as SQL."""
    from lancedb import expr

    return expr.col("id").isin(list(ids))


def equality_filter(where: dict[str, Any]) -> Any:
    """A filter for rows whose columns equal the given values."""
    from lancedb import expr

    filters = [expr.col(name) == expr.lit(value) for name, value in where.items()]
    whole = filters[0]
    for one in filters[1:]:
        whole = whole & one
    return whole


def fetch_rows(table: Any, ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of some ids, in no order."""
    tables = []
    for some in id_batches(ids):
        query = table.search().where(ids_filter(some)).limit(len(some) * 2)
        tables.append((query.select(list(columns)) if columns else query).to_arrow())
    return pa.concat_tables(tables) if tables else table.schema.empty_table()


def id_batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids in lists that one filter can hold."""
    for first in range(0, len(ids), IDS_PER_FILTER):
        yield ids[first : first + IDS_PER_FILTER]
