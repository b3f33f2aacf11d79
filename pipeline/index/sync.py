"""Sync: make the LanceDB table equal a release, build its indexes, and read it back.

Indexes are built before it is read back, so that what was read is the version that has them.

The table is derived: it can be lost, or be behind, or hold an unfinished promotion; each call
compares it with the release and writes the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from commonspace.pipeline.contract.columns import provenance_fields
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.stored_columns import has_columns_of
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index.connection import (
    connect,
    open_table,
    translating_store_errors,
    translating_table_errors,
)
from commonspace.pipeline.index.difference import (
    compare_table,
    duplicate_ids,
    read_compared_columns,
    rows_equal,
)
from commonspace.pipeline.index.indexes.build import IndexState, build_indexes
from commonspace.pipeline.index.table import (
    Table,
    check_table,
    fetch_rows,
    id_batches,
    ids_filter,
    table_schema,
)
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import COMPARED_COLUMNS, read_part_groups
from commonspace.pipeline.storage.s3_errors import is_store_error
from commonspace.pipeline.storage.store import Store


class ReadBackMismatch(ContractBroken):
    """LanceDB holds something else than was written to it."""


def sync_table(
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    *,
    trained_rows: int | None = None,
    retrain: bool = False,
    rebuild_indexes: bool = False,
) -> IndexState:
    """Make the space's table equal the release, with the indexes that it wants.

    A table that cannot be read, or does not read back as it was written, is rewritten in one
    commit: LanceDB may report success for a write that failed. So is one with other metadata
    columns: between a commit that adds a column and one that fills it, nobody could tell which
    rows lack their value. A column of provenance that it lacks is added, for all its rows lack it.

    Args:
        store: the warehouse.
        name: the space.
        contract: its contract.
        release: what the table is to hold.
        trained_rows: how many rows its vector index was trained on, where that is known.
        retrain: train the vector index again, whatever its state.
        rebuild_indexes: as `retrain`, and build the full-text indexes again.

    Raises:
        ContractBroken: the table belongs to another contract, cannot be opened, or still holds
            something else than was written.
        StoreFailed: the bucket failed or the disk is full.
    """
    with translating_table_errors(str(name)):
        try:
            with translating_store_errors(str(name)):
                if _has_other_columns(store, name, contract):
                    return rewrite_table(store, name, contract, release)
                table, written = _write_difference(store, name, contract, release)
                state = build_indexes(
                    table, release.index_settings, contract.spec.dim, trained_rows,
                    retrain=retrain, rebuild_indexes=rebuild_indexes,
                )  # fmt: skip
                _read_back(table, store, contract, release, written)
                return replace(state, version=int(table.version))
        except (ReadBackMismatch, OSError, RuntimeError, ValueError) as error:
            if is_store_error(error):  # the table is not at fault
                raise
            # Raises for a table that cannot be opened: a person has to look at it first.
            open_table(connect(store.address), name.table)
            return rewrite_table(store, name, contract, release)


def rewrite_table(
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    *,
    min_version: int = 0,
) -> IndexState:
    """Write the whole release over the table in one commit, whatever the table holds.

    Readers of an older version keep it; nobody sees a missing or an empty table. Only a table
    that takes no commit is removed first: one that cannot be opened, or one that has lost
    versions.

    Args:
        store: the warehouse.
        name: the space.
        contract: its contract.
        release: what the table is to hold.
        min_version: a version that the table once had; a newest version below it was lost.

    Raises:
        ContractBroken: what was written does not read back.
        StoreFailed: the bucket failed or the disk is full.
    """
    with translating_table_errors(str(name)):
        database = connect(store.address)
        try:
            table = open_table(database, name.table)
            is_lost = table is not None and table.version < min_version
        except (ValueError, RuntimeError):
            is_lost = True
        if is_lost:
            database.drop_table(name.table, ignore_missing=True)
        reader = _reader(_release_groups(store, contract, release), contract)
        table = database.create_table(
            name.table, data=reader, schema=table_schema(contract), mode="overwrite"
        )
        state = build_indexes(table, release.index_settings, contract.spec.dim, None)
        _read_back(table, store, contract, release, None)
        return replace(state, version=int(table.version))


def _has_other_columns(store: Store, name: SpaceName, contract: Contract) -> bool:
    """Whether there is a table that is the space's, and has not the columns of the release."""
    table = open_table(connect(store.address), name.table)
    if table is None:
        return False
    check_table(table, contract)
    return not has_columns_of(contract, table.schema)


def _write_difference(
    store: Store, name: SpaceName, contract: Contract, release: Release
) -> tuple[Table, Sequence[pa.Array] | None]:
    """The table once it is updated, and the ids that were written, as `_read_back` takes them."""
    database = connect(store.address)
    table = open_table(database, name.table)
    if table is not None:
        for field in provenance_fields(contract.spec):
            if field.name not in table.schema.names:
                table.add_columns(field)
        return table, _update(table, store, contract, release)
    reader = _reader(_release_groups(store, contract, release), contract)
    return database.create_table(name.table, data=reader, schema=table_schema(contract)), None


def _update(table: Table, store: Store, contract: Contract, release: Release) -> list[pa.Array]:
    """Write the difference; the ids that were written, part by part."""
    ids = table.search().select(["id"]).limit(max(table.count_rows(), 1)).to_arrow()["id"]
    for batch in id_batches(duplicate_ids(ids)):
        table.delete(ids_filter(batch))
    difference = compare_table(read_compared_columns(table), store, contract, release)
    if any(map(len, difference.stale)):
        merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        changed = (
            rows
            for part, ids in zip(release.parts, difference.stale, strict=True)
            if len(ids)
            for rows in read_part_groups(store, part, contract, ids=ids)
        )
        # An index on the key would hide rows that a concurrent merge inserted.
        merge.use_index(False).execute(_reader(changed, contract))
    for batch in id_batches(difference.excess.to_pylist()):
        table.delete(ids_filter(batch))
    return difference.stale


def _read_back(
    table: Table,
    store: Store,
    contract: Contract,
    release: Release,
    written: Sequence[pa.Array] | None,
) -> None:
    """Compare the table with the release: LanceDB has reported success for failed writes.

    written: the ids that were written, part by part; None for all. The vectors of these are
    compared; the few compared columns are of every row, because another promotion whose lease was
    broken may write to the table meanwhile.
    """
    table.checkout_latest()
    problem = ""
    held = read_compared_columns(table)
    difference = compare_table(held, store, contract, release)
    if held.num_rows != release.rows:
        problem = f"{held.num_rows} rows, the release has {release.rows}"
    elif difference.rows:
        problem = f"{difference.rows} rows of another release"
    elif not all(
        rows_equal(rows, fetch_rows(table, rows["id"].to_pylist(), rows.column_names))
        for rows in _written_rows(store, contract, release, written)
    ):
        problem = "other rows than were written"
    if problem:
        raise ReadBackMismatch(
            f"reading back gave {problem}",
            item=f"LanceDB table {table.name}",
            retry=True,
            do="The release was not promoted. Run again: the table is then rewritten.",
        )


def _written_rows(
    store: Store, contract: Contract, release: Release, written: Sequence[pa.Array] | None
) -> Iterator[pa.Table]:
    """The compared columns and the vectors of the rows that were written."""
    for number, part in enumerate(release.parts):
        ids = None if written is None else written[number]
        if ids is None or len(ids):
            yield from read_part_groups(store, part, contract, [*COMPARED_COLUMNS, "vector"], ids)


def _release_groups(store: Store, contract: Contract, release: Release) -> Iterator[pa.Table]:
    return (group for part in release.parts for group in read_part_groups(store, part, contract))


def _reader(tables: Iterator[pa.Table], contract: Contract) -> pa.RecordBatchReader:
    schema = table_schema(contract)
    batches = (batch for table in tables for batch in table.cast(schema).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)
