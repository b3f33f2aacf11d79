"""Which of an offered record and a published row of the same item is the newer one.

A row takes part unless its file was read whole in this run: then what is offered is all that there
is. So the row of a later partition is not replaced by a run of an earlier one, and runs of
partitions in any order end alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.pull.versions import OLDER_RECORDS, Rank, rank_of
from commonspace.pipeline.source.notices import Notice, NoticeCount, NoticeKind, Notices

_TAKEN_OVER = "items whose rows were another partition's"


@dataclass(frozen=True)
class Precedence:
    """What becomes of offered items of which there are published rows elsewhere.

    Attributes:
        superseded: Items that are not taken, as their row is newer.
        taken_over: Items that are taken, and whose row was another partition's.
    """

    superseded: tuple[str, ...]
    taken_over: tuple[str, ...]

    @property
    def notices(self) -> tuple[NoticeCount, ...]:
        """Both, with the first few items."""
        notices = Notices()
        for item in self.superseded:
            notices.add(Notice(NoticeKind.SUPERSEDED, OLDER_RECORDS, item))
        for item in self.taken_over:
            notices.add(Notice(NoticeKind.TAKEN_OVER, _TAKEN_OVER, item))
        return notices.counts()


def decide_precedence(
    items: pa.Table, rivals: pa.Table, *, item_column: str, newest: str | None
) -> Precedence:
    """Compare offered items with the published rows that take part.

    Args:
        items: `item_column`, `partition` and, where there is one, the column `newest`.
        rivals: the same of published rows, and of lasting rejects.
        item_column: the column that names the item of a row.
        newest: the column that the owner names.
    """
    ranks: dict[str, Rank] = {}
    for item, rank in _ranks(rivals, item_column, newest):
        ranks[item] = max(rank, ranks.get(item, rank))
    rows = items.filter(pc.is_in(items[item_column], value_set=pa.array(ranks, pa.string())))
    offered = dict(_ranks(rows, item_column, newest))
    return Precedence(
        tuple(item for item, rank in offered.items() if rank < ranks[item]),
        tuple(
            item
            for item, rank in offered.items()
            if rank[2] != ranks[item][2] and rank > ranks[item]
        ),
    )


def _ranks(rows: pa.Table, item_column: str, newest: str | None) -> Iterable[tuple[str, Rank]]:
    """Each row's item and rank."""
    values = rows[newest].to_pylist() if newest else [None] * rows.num_rows
    columns = (rows[item_column].to_pylist(), values, rows["partition"].to_pylist())
    for item, value, partition in zip(*columns, strict=True):
        yield item, rank_of(value, partition)
