"""Index: bring the LanceDB table to a release, read it back, and only then say so.

Its indices are brought in order before it is read back, so that what was read is the version
that has them.

The table is derived: it can be lost, or be behind, or hold an unfinished promotion; each
call compares it with the release and writes the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index.build import IndexState, build_indexes
from commonspace.pipeline.index.connection import (
    check_table,
    connect,
    fetch_rows,
    id_batches,
    ids_filter,
    open_table,
    table_schema,
    translating_store_errors,
    translating_table_errors,
)
from commonspace.pipeline.index.difference import (
    compare_table,
    duplicate_ids,
    read_compared_columns,
)
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import COMPARED_COLUMNS, read_part_groups
from commonspace.pipeline.storage.s3_errors import is_store_error
from commonspace.pipeline.storage.store import Store


class ReadBackMismatch(ContractBroken):
    """LanceDB holds something else than was written to it."""


def sync_table(
    address: str,
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    trained_rows: int | None = None,
    *,
    retrain: bool = False,
    rebuild_indexes: bool = False,
) -> IndexState:
    """Make the space's table equal the release, with the indices that it wants.

    trained_rows: over how many rows its vector index was trained, where that is known.
    retrain: train it again. anew: build every index again.

    A table that cannot be read, or does not read back as it was written, is written anew in
    one commit: LanceDB may report success for a write that failed.
    Raises ContractBroken where the table belongs to another contract, cannot be opened, or
    still holds something else than was written.
    """
    with translating_table_errors(str(name)):
        try:
            with translating_store_errors(str(name)):
                table, changed = _write_difference(address, store, name, contract, release)
                done = build_indexes(
                    table, release.index_settings, contract.spec.dim, trained_rows,
                    retrain=retrain, rebuild_indexes=rebuild_indexes,
                )  # fmt: skip
                _read_back(table, store, contract, release, changed)
                return replace(done, version=int(table.version))
        except (ReadBackMismatch, OSError, RuntimeError, ValueError) as error:
            if is_store_error(error):  # it is not the table that is at fault
                raise
            open_table(connect(address), name.table)  # one that cannot be opened needs a person
            return rewrite_table(address, store, name, contract, release)


def _write_difference(
    address: str, store: Store, name: SpaceName, contract: Contract, release: Release
) -> tuple[Any, Sequence[pa.Array] | None]:
    """The table once the difference is written; and which ids were, as `_read_back` takes it."""
    database = connect(address)
    table = open_table(database, name.table)
    if table is not None:
        check_table(table, contract)
        return table, _update(table, store, contract, release)
    reader = _reader(_release_groups(store, contract, release), contract)
    return database.create_table(name.table, data=reader, schema=table_schema(contract)), None


def rewrite_table(
    address: str,
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    at_least: int = 0,
) -> IndexState:
    """Write the whole release over the table in one commit, whatever the table holds.

    Readers of an older version keep it; nobody sees a missing or an empty table. Only a table
    that takes no commit is removed first: one that cannot be opened, or whose newest version is
    below `at_least`, one that it has had. Raises ContractBroken where what was written does not
    read back.
    """
    with translating_table_errors(str(name)):
        database = connect(address)
        try:
            table = open_table(database, name.table)
            lost = table is not None and table.version < at_least
        except (ValueError, RuntimeError):
            lost = True
        if lost:
            database.drop_table(name.table, ignore_missing=True)
        reader = _reader(_release_groups(store, contract, release), contract)
        table = database.create_table(
            name.table, data=reader, schema=table_schema(contract), mode="overwrite"
        )
        done = build_indexes(table, release.index_settings, contract.spec.dim, None)
        _read_back(table, store, contract, release, None)
        return replace(done, version=int(table.version))


def _update(table: Any, store: Store, contract: Contract, release: Release) -> list[pa.Array]:
    """Writes the difference; the ids that were written, part by part."""
    ids = table.search().select(["id"]).limit(max(table.count_rows(), 1)).to_arrow()["id"]
    for some in id_batches(duplicate_ids(ids)):
        table.delete(ids_filter(some))
    found = compare_table(read_compared_columns(table), store, contract, release)
    if any(map(len, found.stale)):
        merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        changed = (
            rows
            for part, ids in zip(release.parts, found.stale, strict=True)
            if len(ids)
            for rows in read_part_groups(store, part, contract, ids=ids)
        )
        # An index on the key would hide rows that a concurrent merge inserted.
        merge.use_index(False).execute(_reader(changed, contract))
    for some in id_batches(found.excess.to_pylist()):
        table.delete(ids_filter(some))
    return found.stale


def _read_back(
    table: Any,
    store: Store,
    contract: Contract,
    release: Release,
    changed: Sequence[pa.Array] | None,
) -> None:
    """LanceDB has been seen to report success for a write that cannot be read.

    changed: the ids that were written, part by part; None for every one. Every row's stamp is
    compared, not only those that were written: another promotion whose lease was broken may
    write to the table meanwhile.
    """
    table.checkout_latest()
    problem = ""
    there = read_compared_columns(table)
    found = compare_table(there, store, contract, release)
    if there.num_rows != release.rows:
        problem = f"{there.num_rows} rows, the release has {release.rows}"
    elif found.rows:
        problem = f"{found.rows} rows of another release"
    elif not all(
        rows_equal(some, fetch_rows(table, some["id"].to_pylist(), some.column_names))
        for some in _written_rows(store, contract, release, changed)
    ):
        problem = "other rows than were written"
    if problem:
        raise ReadBackMismatch(
            f"reading back gave {problem}",
            item=f"LanceDB table {table.name}",
            retry=True,
            do="The release was not promoted. Run again: the table is then written anew.",
        )


def _written_rows(
    store: Store, contract: Contract, release: Release, changed: Sequence[pa.Array] | None
) -> Iterator[pa.Table]:
    for number, part in enumerate(release.parts):
        ids = None if changed is None else changed[number]
        if ids is None or len(ids):
            yield from read_part_groups(store, part, contract, [*COMPARED_COLUMNS, "vector"], ids)


def rows_equal(one: pa.Table, other: pa.Table) -> bool:
    """True where both hold the same ids with equal columns; floats are compared bit by bit."""
    if one.num_rows != other.num_rows or set(one.column_names) != set(other.column_names):
        return False
    one, other = one.sort_by("id"), other.sort_by("id")
    return all(_bits(one[name]).equals(_bits(other[name])) for name in one.column_names)


def _bits(column: pa.ChunkedArray) -> pa.Array:
    """The column, vectors flattened, floats as the integers of the same bits."""
    values = column.combine_chunks()
    if pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    if pa.types.is_floating(values.type):
        values = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    return values


def _release_groups(store: Store, contract: Contract, release: Release) -> Iterator[pa.Table]:
    return (group for part in release.parts for group in read_part_groups(store, part, contract))


def _reader(tables: Iterator[pa.Table], contract: Contract) -> pa.RecordBatchReader:
    schema = table_schema(contract)
    batches = (batch for table in tables for batch in table.cast(schema).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)
