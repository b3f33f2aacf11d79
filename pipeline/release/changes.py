"""What differs between two releases of a space, by id.

Replaying the changes over the rows of the one release gives the rows of the other, whichever
of the two is older. Parts that both releases share are skipped unread.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import COMPARED_COLUMNS, concat_or_empty, read_part
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class Changes:
    """The way from release `since` to release `until`."""

    since: int
    until: int
    added: pa.Table
    """Whole rows, in the columns of the space, of ids that are new."""
    changed: pa.Table
    """Whole rows, as they are in `until`, of ids whose row differs in anything."""
    removed: pa.Table
    """`id` of the rows that are gone."""

    def __len__(self) -> int:
        return sum(len(rows) for rows in (self.added, self.changed, self.removed))

    def apply(self, rows: pa.Table) -> pa.Table:
        """The rows of `until`, sorted by id, from all the rows of `since`."""
        gone = pa.chunked_array(
            [*self.removed["id"].chunks, *self.changed["id"].chunks], pa.string()
        )
        stay = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=gone.combine_chunks())))
        stay = stay.select(self.added.column_names).cast(self.added.schema)
        return pa.concat_tables([stay, self.added, self.changed]).sort_by("id")


def changes_between(store: Store, contract: Contract, since: Release, until: Release) -> Changes:
    """What was added, changed and removed. Raises ContractBroken where a part is damaged.

    Takes as much memory as the changed rows, and a few short columns of the parts around them.
    """
    shared = {part.sha256 for part in since.parts} & {part.sha256 for part in until.parts}
    short = pa.schema([contract.schema.field(name) for name in COMPARED_COLUMNS])
    before = concat_or_empty(
        (
            read_part(store, part, contract, COMPARED_COLUMNS).cast(short)
            for part in since.parts
            if part.sha256 not in shared
        ),
        short,
    ).combine_chunks()
    added, changed, there = [], [], [pa.array([], pa.string())]
    for part in until.parts:
        if part.sha256 in shared:
            continue
        rows = read_part(store, part, contract).cast(contract.schema)
        at = pc.index_in(rows["id"], value_set=_column(before, "id"))
        added.append(rows.filter(pc.is_null(at)))
        changed.append(rows.filter(pc.and_(pc.is_valid(at), pc.invert(_same(rows, before, at)))))
        there += rows["id"].chunks
    left = pc.invert(pc.is_in(before["id"], value_set=pa.chunked_array(there).combine_chunks()))
    return Changes(
        since.number,
        until.number,
        concat_or_empty(iter(added), contract.schema),
        concat_or_empty(iter(changed), contract.schema),
        before.filter(left).select(["id"]),
    )


def _same(rows: pa.Table, before: pa.Table, at: pa.ChunkedArray) -> pa.Array:
    """Whether each row equals the one that stood at that position; false where none did."""
    same = pc.is_valid(at)
    for name in COMPARED_COLUMNS:
        same = pc.and_(same, pc.equal(rows[name], _column(before, name).take(at)))
    return pc.fill_null(same, False)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
