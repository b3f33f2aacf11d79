"""The difference between a table and a release, by a few columns of each row, without vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.index.table import Table
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import COMPARED_COLUMNS, read_part
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class Difference:
    """What a table lacks of a release, and what it holds beyond it."""

    stale: list[pa.Array]
    """For each part of the release, the ids that the table lacks or whose row differs."""
    excess: pa.Array
    """The ids that the release does not hold."""

    @property
    def rows(self) -> int:
        """How many ids differ."""
        return sum(map(len, self.stale)) + len(self.excess)


def read_compared_columns(table: Table) -> pa.Table:
    """COMPARED_COLUMNS of every row.

    A scan: LanceDB's `count_rows` would not open the files of deleted rows.
    """
    return table.search().select(COMPARED_COLUMNS).limit(max(table.count_rows(), 1)).to_arrow()


def duplicate_ids(ids: pa.ChunkedArray) -> list[str]:
    """The ids that occur more than once."""
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    return list(repeated.field("values").to_pylist())


def compare_table(held: pa.Table, store: Store, contract: Contract, release: Release) -> Difference:
    """Where a table and a release differ.

    Args:
        held: COMPARED_COLUMNS of the table's rows; no id occurs twice.
        store: where the release lies.
        contract: the contract of the space.
        release: what the table should hold.

    Raises:
        ContractBroken: a part is missing or damaged.
    """
    parts = [read_part(store, part, contract, COMPARED_COLUMNS) for part in release.parts]
    if not parts:
        return Difference([], held["id"].combine_chunks())
    expected = pa.concat_tables(parts)
    positions = pc.index_in(expected["id"], value_set=held["id"]).combine_chunks()
    matched, same = held.take(positions), pc.is_valid(positions)
    for column in COMPARED_COLUMNS[1:]:
        equal = pc.equal(expected[column], matched[column].cast(expected[column].type))
        same = pc.and_(same, pc.fill_null(equal, False))
    stale, first = [], 0
    for part in parts:
        differs = pc.invert(same.slice(first, part.num_rows))
        stale.append(part["id"].filter(differs).combine_chunks())
        first += part.num_rows
    is_excess = np.ones(held.num_rows, bool)
    is_excess[positions.drop_null().to_numpy()] = False
    return Difference(stale, held["id"].filter(pa.array(is_excess)).combine_chunks())


def rows_equal(left: pa.Table, right: pa.Table) -> bool:
    """Whether both hold the same ids with equal columns; floats are compared bit by bit."""
    if left.num_rows != right.num_rows or set(left.column_names) != set(right.column_names):
        return False
    left, right = left.sort_by("id"), right.sort_by("id")
    return all(_bits(left[name]).equals(_bits(right[name])) for name in left.column_names)


def _bits(column: pa.ChunkedArray) -> pa.Array:
    """The column, vectors flattened, floats as the integers of the same bits."""
    values = column.combine_chunks()
    if pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    if pa.types.is_floating(values.type):
        values = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    return values
