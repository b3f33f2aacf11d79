"""What differs between two releases of a space, by id.

Replaying the changes over the rows of the one release gives the rows of the other, whichever
of the two is older. Parts that both releases share are skipped unread, unless
`until` has a column that `since` has not: it may have had values in them before it was dropped.
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
    """What differs from release `since` to release `until`."""

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
        """All the rows of `until`, sorted by id, made from all the rows of `since`.

        A column that `since` lacks is null in the rows that neither add nor change.
        """
        replaced = pa.chunked_array(
            [*self.removed["id"].chunks, *self.changed["id"].chunks], pa.string()
        )
        kept = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=replaced.combine_chunks())))
        columns = [
            kept[field.name] if _has_field(kept.schema, field) else pa.nulls(len(kept), field.type)
            for field in self.added.schema
        ]
        kept = pa.table(columns, schema=self.added.schema)
        return pa.concat_tables([kept, self.added, self.changed]).sort_by("id")


def changes_between(store: Store, stored: Contract, since: Release, until: Release) -> Changes:
    """What was added, changed and removed.

    Takes as much memory as the changed rows, and a few short columns of the parts around them.

    Args:
        store: the warehouse.
        stored: the contract of the space as it is stored.
        since: the release to compare with.
        until: the release whose rows are returned.

    Raises:
        ContractBroken: a part is missing or damaged.
    """
    contract, earlier = until.contract(stored), since.contract(stored).metadata
    new_columns = [n for n, kind in contract.metadata.items() if earlier.get(n) != kind]
    shared = {part.sha256 for part in since.parts} & {part.sha256 for part in until.parts}
    shared = set() if new_columns else shared
    compared = pa.schema([contract.schema.field(name) for name in COMPARED_COLUMNS])
    before = concat_or_empty(
        (
            read_part(store, part, contract, COMPARED_COLUMNS).cast(compared)
            for part in since.parts
            if part.sha256 not in shared
        ),
        compared,
    ).combine_chunks()
    added, changed, ids = [], [], [pa.array([], pa.string())]
    for part in until.parts:
        if part.sha256 in shared:
            continue
        rows = read_part(store, part, contract).cast(contract.schema)
        positions = pc.index_in(rows["id"], value_set=_column(before, "id"))
        added.append(rows.filter(pc.is_null(positions)))
        differs = pc.invert(_equals_row_at(rows, before, positions))
        for name in new_columns:
            differs = pc.or_(differs, pc.is_valid(rows[name]))
        changed.append(rows.filter(pc.and_(pc.is_valid(positions), differs)))
        ids += rows["id"].chunks
    gone = pc.invert(pc.is_in(before["id"], value_set=pa.chunked_array(ids).combine_chunks()))
    return Changes(
        since.number,
        until.number,
        concat_or_empty(iter(added), contract.schema),
        concat_or_empty(iter(changed), contract.schema),
        before.filter(gone).select(["id"]),
    )


def _has_field(schema: pa.Schema, field: pa.Field) -> bool:
    """Whether the schema has a column of this name and type."""
    index = schema.get_field_index(field.name)
    return index >= 0 and bool(schema.field(index).type.equals(field.type))


def _equals_row_at(rows: pa.Table, before: pa.Table, positions: pa.ChunkedArray) -> pa.Array:
    """Whether each row equals the row of `before` at its position; false where that is null."""
    equal = pc.is_valid(positions)
    for name in COMPARED_COLUMNS:
        equal = pc.and_(equal, pc.equal(rows[name], _column(before, name).take(positions)))
    return pc.fill_null(equal, False)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
