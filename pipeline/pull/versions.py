"""Which record of each id is taken, where a source has several.

The one of the greatest rank: by the column that the owner names as `newest`, nulls first, then by
partition. Of equal ones it is the first. So the rank decides, not the order of the runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.layout import items_folder, passages_folder
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.pull.passages import passage_row_digest
from commonspace.pipeline.storage.store import Store

OLDER_RECORDS = "older records of an id, of which a newer one is taken"
"""What notices of superseded records are about."""

Rank = tuple[bool, Any, str]
"""Compares the records of one id; a greater one is newer."""
RowDigest = Callable[[str, Mapping[str, Any]], str]
"""The `row_digest` that a row has if it is of the record with that one."""


def rank_of(newest: Any, partition: str | None) -> Rank:
    """The rank of a record.

    Args:
        newest: its value in the owner's column; None, as where there is no such column, and NaN
            are the oldest.
        partition: where it comes from.
    """
    is_known = newest is not None and newest == newest  # NaN differs from itself
    return is_known, newest if is_known else None, partition or ""


class Outcome(Enum):
    """What becomes of a record beside the earlier ones of its id."""

    FIRST = "there is none"
    NEWER = "it takes their place"
    OLDER = "one of them stays"
    DUPLICATE = "an equal one stays"


class Versions:
    """Ranks the records of a scan, which come partition by partition, in ascending order.

    What a record is within its own partition does not depend on others, so that its rejects are
    those of a run of that partition alone. Some 90 bytes an id stay in memory, however long ids
    are; with `newest`, whose rank stays too, some 190 (measured, with two million ids).
    """

    def __init__(self, newest: str | None) -> None:
        self._newest = newest
        self._partition: str | None = None
        self._seen: set[bytes] = set()
        self._seen_earlier: set[bytes] = set()
        self._best: dict[bytes, Rank] = {}
        self._best_earlier: dict[bytes, Rank] = {}

    def add(self, item_id: str, partition: str | None, metadata: Mapping[str, Any]) -> Outcome:
        """What becomes of the next record."""
        if partition != self._partition:
            self._begin(partition)
        short = hashlib.blake2b(item_id.encode(), digest_size=16).digest()
        if self._newest is not None:
            return self._add_ranked(short, rank_of(metadata[self._newest], partition))
        if short in self._seen:
            return Outcome.DUPLICATE
        self._seen.add(short)
        return Outcome.NEWER if short in self._seen_earlier else Outcome.FIRST

    def _begin(self, partition: str | None) -> None:
        self._partition = partition
        self._seen_earlier |= self._seen
        self._seen = set()
        for short, rank in self._best.items():
            self._best_earlier[short] = max(rank, self._best_earlier.get(short, rank))
        self._best = {}

    def _add_ranked(self, short: bytes, rank: Rank) -> Outcome:
        best, earlier = self._best.get(short), self._best_earlier.get(short)
        if best is not None and rank <= best:
            return Outcome.DUPLICATE if rank == best else Outcome.OLDER
        self._best[short] = rank
        if earlier is not None and rank < earlier:
            return Outcome.OLDER
        return Outcome.FIRST if best is None and earlier is None else Outcome.NEWER


def remove_replaced(store: Store, run_folder: str, winners: Mapping[str, str]) -> None:
    """Remove what was written of items before a newer record of theirs came.

    Args:
        store: the warehouse.
        run_folder: the key of the run's folder.
        winners: the `row_digest` of the record that is taken, for each of these ids.
    """
    if not winners:
        return
    for key in store.list(items_folder(run_folder)):
        _keep_rows(store, key, "id", winners, _item_digest)
    for key in store.list(passages_folder(run_folder)):
        _keep_rows(store, key, "item", winners, _passage_digest)


def _keep_rows(
    store: Store, key: str, column: str, winners: Mapping[str, str], digest: RowDigest
) -> None:
    """Remove the file's rows of the ids in `column` that have another digest than the winner's."""
    data = store.read(key)
    if data is None:
        return
    table = read_table(data, key)
    names = table[column].to_pylist()
    positions = [position for position, name in enumerate(names) if name in winners]
    rows = table.take(pa.array(positions, pa.int64())).to_pylist()
    lost = [
        position
        for position, row in zip(positions, rows, strict=True)
        if row["row_digest"] != digest(winners[row[column]], row)
    ]
    if lost:
        everywhere = pa.array(range(table.num_rows), pa.int64())
        stays = pc.invert(pc.is_in(everywhere, value_set=pa.array(lost, pa.int64())))
        store.put(key, parquet_bytes(table.filter(stays)))


def _item_digest(winner: str, _: Mapping[str, Any]) -> str:
    return winner


def _passage_digest(winner: str, row: Mapping[str, Any]) -> str:
    return passage_row_digest(winner, row["passage_start"], row["passage_end"])
