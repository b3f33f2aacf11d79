"""Collect: the rows a release gains, their vectors gathered from shards and older parts.

Vectors lie in a memory-mapped temporary file, one slot for each distinct content, so that a
release may hold more of them than memory does.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.contract.columns import provenance_fields
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import read_part, read_part_groups
from commonspace.pipeline.storage.local_errors import translating_os_errors
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.shards import shard_groups


@dataclass(frozen=True)
class NewRows:
    """The rows to come, and the planned items that got no vector."""

    rows: pa.Table
    """Everything but the vector and the facts."""
    slot_of_row: NDArray[np.int64]
    slots: Slots
    failures: dict[str, Failure]
    """By id."""

    def take(self, positions: Sequence[int]) -> pa.Table:
        """Whole rows, in the order of the positions, id and vector together."""
        slots = self.slot_of_row[np.asarray(positions, np.int64)]
        table = self.rows.take(pa.array(positions, pa.int64()))
        columns = [table, self.slots.take(slots)]
        return pa.table({n: t[n] for t in columns for n in t.column_names})


class Slots:
    """One vector and its truth columns for each distinct content, in the order found."""

    def __init__(self, wanted: set[str], contract: Contract, folder: Path) -> None:
        self.wanted, self.at = wanted, dict[str, int]()
        self._dim = contract.spec.dim
        self._vectors = _on_disk(folder, len(wanted), self._dim)
        names = {*(f.name for f in provenance_fields(contract.spec)), "encoded_at", "run"}
        self._schema = pa.schema([f for f in contract.schema if f.name in names])
        self._truths = [self._schema.empty_table()]

    @property
    def missing(self) -> pa.Array:
        return pa.array(self.wanted - self.at.keys(), pa.string())

    def fill(self, table: pa.Table) -> None:
        """Take every wanted content that has no slot yet."""
        rows = []
        for row, digest in enumerate(table["content_digest"].to_pylist()):
            if digest in self.wanted and digest not in self.at:
                self.at[digest] = len(self.at)
                rows.append(row)
        taken = table.take(pa.array(rows, pa.int64()))
        first = len(self.at) - len(rows)
        vectors = np.asarray(taken["vector"].combine_chunks().flatten())
        self._vectors[first : len(self.at)] = vectors.reshape(-1, self._dim)
        self._truths.append(taken.select(self._schema.names).cast(self._schema))

    def take(self, slots: NDArray[np.int64]) -> pa.Table:
        """The vector and truth columns of some slots."""
        self._truths = [pa.concat_tables(self._truths).combine_chunks()]
        flat = pa.array(self._vectors[slots].reshape(-1), pa.float32())
        vectors = pa.FixedSizeListArray.from_arrays(flat, self._dim)
        return self._truths[0].take(pa.array(slots)).append_column("vector", vectors)


def collect(
    store: Store,
    contract: Contract,
    plan: Plan,
    items: pa.Table,
    base: Release | None,
    shards: Sequence[str],
) -> NewRows:
    """Rows for every `encode` and `reuse` of the plan whose content has a vector.

    items: `contract.item_columns` of the plan's items.
    Raises ContractBroken where an item has neither vector nor reason, Conflict where a shard
    is gone.
    """
    chosen = plan.rows("encode", "reuse")
    slots = Slots(set(chosen["digest"].to_pylist()), contract, store.scratch)
    failed: dict[str, Failure] = {}
    for shard in (some for key in shards for some in shard_groups(store, key, contract.spec)):
        for row in shard.filter(pc.is_valid(shard["reason"])).to_pylist():
            failure = Failure(Reason(row["reason"]), row["message"], row["retryable"])
            failed[row["content_digest"]] = failure
        slots.fill(shard.filter(pc.is_null(shard["reason"])))
    slots.wanted -= failed.keys()  # a published vector does not stand in for a new one
    for part in base.parts if base else ():
        missing = slots.missing
        if not len(missing):
            break
        held = read_part(store, part, contract, ["content_digest"])["content_digest"]
        if pc.any(pc.is_in(held, value_set=missing)).as_py():
            for group in read_part_groups(store, part, contract):
                slots.fill(group)
    return _rows(chosen, items, slots, failed, contract)


def _rows(
    chosen: pa.Table, items: pa.Table, slots: Slots, failed: dict[str, Failure], contract: Contract
) -> NewRows:
    digests = chosen["digest"].to_pylist()
    good = pa.array([digest in slots.at for digest in digests], pa.bool_())
    bad = chosen.filter(pc.invert(good)).to_pylist()
    unknown = [row["id"] for row in bad if row["digest"] not in failed]
    if unknown:
        raise ContractBroken(
            f"{len(unknown)} planned items have neither a vector nor a reason, "
            f"{unknown[0]!r} among them",
            item=contract.space,
        )
    failures = {row["id"]: failed[row["digest"]] for row in bad}
    chosen = chosen.filter(good)
    there = pc.index_in(chosen["id"], value_set=items["id"].combine_chunks())
    rows = items.select(contract.item_columns).take(there)
    rows = rows.append_column("content_digest", chosen["digest"]).combine_chunks()
    at = np.array([slots.at[digest] for digest in chosen["digest"].to_pylist()], np.int64)
    return NewRows(rows, at, slots, failures)


def _on_disk(folder: Path, rows: int, dim: int) -> NDArray[np.float32]:
    """A (rows, dim) float32 array in a file that vanishes with its last reader.

    Its space is reserved: a disk that fills up later would end the process without a word.
    """
    if not rows:
        return np.zeros((0, dim), np.float32)
    with (
        translating_os_errors(folder),
        tempfile.TemporaryFile(prefix=".collect-", dir=folder) as file,
    ):
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, rows * dim * 4)
        return np.memmap(file, np.float32, "w+", shape=(rows, dim))
