"""Index: bring the LanceDB table to a release, read it back, and only then say so.

The table is derived: it can be lost, or be behind, or hold an unfinished promotion; each
call compares it with the release and writes the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bucket_errors import is_of_the_store
from pipeline.contract import Contract, SpaceName
from pipeline.errors import ContractBroken
from pipeline.lance import (
    check_table,
    chunks,
    connect,
    open_table,
    reachable,
    readable,
    rows_of,
    table_schema,
    with_ids,
)
from pipeline.records import Release
from pipeline.releases import STAMP, read_part
from pipeline.store import Store


class Unfaithful(ContractBroken):
    """LanceDB holds something else than was written to it."""


def bring_to(
    address: str, store: Store, name: SpaceName, contract: Contract, release: Release
) -> int:
    """Make the space's table equal the release; returns the table version that does.

    A table that cannot be read, or does not read back as it was written, is written anew in
    one commit: LanceDB may report success for a write that failed.
    Raises ContractBroken where the table belongs to another contract, cannot be opened, or
    still holds something else than was written.
    """
    with readable(str(name)):
        try:
            with reachable(str(name)):
                return _bring(address, store, name, contract, release)
        except (Unfaithful, OSError, RuntimeError, ValueError) as error:
            if is_of_the_store(error):  # it is not the table that is at fault
                raise
            open_table(connect(address), name.table)  # one that cannot be opened needs a person
            return refill(address, store, name, contract, release)


def _bring(
    address: str, store: Store, name: SpaceName, contract: Contract, release: Release
) -> int:
    database = connect(address)
    table = open_table(database, name.table)
    if table is None:
        reader = _reader(_parts(store, contract, release), contract)
        table = database.create_table(name.table, data=reader, schema=table_schema(contract))
        changed = [i for rows in _parts(store, contract, release) for i in rows["id"].to_pylist()]
    else:
        check_table(table, contract)
        changed = _update(table, store, contract, release)
    _read_back(table, store, contract, release, set(changed))
    return int(table.version)


def refill(
    address: str,
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    at_least: int = 0,
) -> int:
    """Write the whole release over the table in one commit, whatever the table holds.

    Readers of an older version keep it; nobody sees a missing or an empty table. Only a table
    that takes no commit is removed first: one that cannot be opened, or whose newest version is
    below `at_least`, one that it has had. Raises ContractBroken where what was written does not
    read back.
    """
    with readable(str(name)):
        database = connect(address)
        try:
            table = open_table(database, name.table)
            lost = table is not None and table.version < at_least
        except (ValueError, RuntimeError):
            lost = True
        if lost:
            database.drop_table(name.table, ignore_missing=True)
        reader = _reader(_parts(store, contract, release), contract)
        table = database.create_table(
            name.table, data=reader, schema=table_schema(contract), mode="overwrite"
        )
        every = {i for rows in _parts(store, contract, release) for i in rows["id"].to_pylist()}
        _read_back(table, store, contract, release, every)
        return int(table.version)


def _stamped(table: Any) -> pa.Table:
    """Every row's STAMP. A scan: `count_rows` does not open the files of deleted rows."""
    return table.search().select(STAMP).limit(max(table.count_rows(), 1)).to_arrow()


def _differing(there: pa.Table, store: Store, contract: Contract, release: Release) -> tuple[
    list[set[str]], list[str]
]:  # fmt: skip
    """Ids that the table lacks or holds otherwise, part by part; and ids it holds in excess.

    there: as `_stamped` gives it.
    """
    held = dict(zip(there["id"].to_pylist(), _stamps(there), strict=True))
    stale: list[set[str]] = []
    for part in release.parts:
        rows = read_part(store, part, contract, STAMP)
        ids = rows["id"].to_pylist()
        pairs = zip(ids, _stamps(rows), strict=True)
        stale.append({item for item, stamp in pairs if held.get(item) != stamp})
        for item in ids:
            held.pop(item, None)
    return stale, list(held)


def _update(table: Any, store: Store, contract: Contract, release: Release) -> list[str]:
    ids = table.search().select(["id"]).limit(max(table.count_rows(), 1)).to_arrow()["id"]
    counts = pc.value_counts(ids).to_pylist()
    for some in chunks([entry["values"] for entry in counts if entry["counts"] > 1]):
        table.delete(with_ids(some))
    stale, excess = _differing(_stamped(table), store, contract, release)
    if any(stale):
        merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        changed = (
            read_part(store, part, contract).filter(_among(store, part, contract, ids))
            for part, ids in zip(release.parts, stale, strict=True)
            if ids
        )
        # An index on the key would hide rows that a concurrent merge inserted.
        merge.use_index(False).execute(_reader(changed, contract))
    for some in chunks(excess):
        table.delete(with_ids(some))
    return [item for ids in stale for item in ids]


def _read_back(
    table: Any, store: Store, contract: Contract, release: Release, changed: set[str]
) -> None:
    """LanceDB has been seen to report success for a write that cannot be read.

    Every row's stamp is compared, not only those that were written: another promotion whose
    lease was broken may write to the table meanwhile.
    """
    table.checkout_latest()
    problem = ""
    there = _stamped(table)
    stale, excess = _differing(there, store, contract, release)
    if there.num_rows != release.rows:
        problem = f"{there.num_rows} rows, the release has {release.rows}"
    elif any(stale) or excess:
        problem = f"{sum(map(len, stale)) + len(excess)} rows of another release"
    for rows in _parts(store, contract, release) if changed and not problem else ():
        written = rows.filter(pc.is_in(rows["id"], value_set=pa.array(changed, pa.string())))
        found = rows_of(table, written["id"].to_pylist(), [*STAMP, "vector"])
        if not same_rows(written.select(found.column_names), found):
            problem = "other rows than were written"
            break
    if problem:
        raise Unfaithful(
            f"reading back gave {problem}",
            item=f"LanceDB table {table.name}",
            retry=True,
            do="The release was not promoted. Run again: the table is then written anew.",
        )


def same_rows(one: pa.Table, other: pa.Table) -> bool:
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


def _stamps(rows: pa.Table) -> list[tuple[Any, ...]]:
    stamp = rows.append_column("at", rows["encoded_at"].cast(pa.int64()))
    columns = ["id", "content_digest", "row_digest", "run", "at"]
    return list(zip(*(stamp[name].to_pylist() for name in columns), strict=True))


def _among(store: Store, part: Any, contract: Contract, ids: set[str]) -> pa.Array:
    held = read_part(store, part, contract, ["id"])["id"]
    return pc.is_in(held, value_set=pa.array(ids, pa.string()))


def _parts(store: Store, contract: Contract, release: Release) -> Iterator[pa.Table]:
    return (read_part(store, part, contract) for part in release.parts)


def _reader(tables: Iterator[pa.Table], contract: Contract) -> pa.RecordBatchReader:
    schema = table_schema(contract)
    batches = (batch for table in tables for batch in table.cast(schema).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)
