"""Stamps: the few columns by which rows are told apart, compared without their vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import COMPARED_COLUMNS, read_part
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class Difference:
    """What a table lacks of a release, and what it holds beyond it."""

    stale: list[pa.Array]
    """For each part of the release, the ids that the table lacks or holds otherwise."""
    excess: pa.Array
    """Ids that the release does not hold."""

    @property
    def rows(self) -> int:
        """How many ids differ."""
        return sum(map(len, self.stale)) + len(self.excess)


def read_compared_columns(table: Any) -> pa.Table:
    """Every row's STAMP. A scan: `count_rows` does not open the files of deleted rows."""
    return table.search().select(COMPARED_COLUMNS).limit(max(table.count_rows(), 1)).to_arrow()


def duplicate_ids(ids: pa.ChunkedArray) -> list[str]:
    """The ids that stand more than once."""
    counts = pc.value_counts(ids)
    many = counts.filter(pc.greater(counts.field("counts"), 1))
    return list(many.field("values").to_pylist())


def compare_table(
    there: pa.Table, store: Store, contract: Contract, release: Release
) -> Difference:
    """Where a release and a table disagree. `there`: the table's stamps, no id in it twice."""
    parts = [read_part(store, part, contract, COMPARED_COLUMNS) for part in release.parts]
    if not parts:
        return Difference([], there["id"].combine_chunks())
    wanted = pa.concat_tables(parts)
    at = pc.index_in(wanted["id"], value_set=there["id"]).combine_chunks()
    held, same = there.take(at), pc.is_valid(at)
    for column in COMPARED_COLUMNS[1:]:
        equal = pc.equal(wanted[column], held[column].cast(wanted[column].type))
        same = pc.and_(same, pc.fill_null(equal, False))
    stale, first = [], 0
    for part in parts:
        differs = pc.invert(same.slice(first, part.num_rows))
        stale.append(part["id"].filter(differs).combine_chunks())
        first += part.num_rows
    beyond = np.ones(there.num_rows, bool)
    beyond[at.drop_null().to_numpy()] = False
    return Difference(stale, there["id"].filter(pa.array(beyond)).combine_chunks())
