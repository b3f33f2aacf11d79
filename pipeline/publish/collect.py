"""Collect: the rows that a release gains, their vectors gathered from shards and older parts.

Vectors are kept in a memory-mapped temporary file, one for each distinct content, so that a
release may gain more of them than memory holds.
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
from commonspace.pipeline.contract.columns import provenance_fields, vectors_of
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
    """The rows that the release gains, and the planned items that got no vector."""

    rows: pa.Table
    """All columns but the vector and its provenance."""
    slot_of_row: NDArray[np.int64]
    vectors: VectorSlots
    failures: dict[str, Failure]
    """By id."""

    def take(self, positions: Sequence[int]) -> pa.Table:
        """Whole rows, in the order of the positions, id and vector together."""
        slots = self.slot_of_row[np.asarray(positions, np.int64)]
        rows = self.rows.take(pa.array(positions, pa.int64()))
        tables = [rows, self.vectors.take(slots)]
        return pa.table({name: table[name] for table in tables for name in table.column_names})


class VectorSlots:
    """One vector and its provenance columns for each distinct content, in the order found."""

    def __init__(self, wanted: set[str], contract: Contract, folder: Path) -> None:
        self.wanted = wanted
        """The digests of the contents whose vectors are looked for."""
        self.slot_of_digest = dict[str, int]()
        self._dim = contract.spec.dim
        self._vectors = _array_on_disk(folder, len(wanted), self._dim)
        names = {*(f.name for f in provenance_fields(contract.spec)), "encoded_at", "run"}
        self._schema = pa.schema([f for f in contract.schema if f.name in names])
        self._provenance = [self._schema.empty_table()]

    @property
    def missing(self) -> pa.Array:
        """The wanted digests without a vector yet."""
        return pa.array(self.wanted - self.slot_of_digest.keys(), pa.string())

    def fill(self, table: pa.Table) -> None:
        """Take the vectors of every wanted content that has none yet."""
        rows = []
        for row, digest in enumerate(table["content_digest"].to_pylist()):
            if digest in self.wanted and digest not in self.slot_of_digest:
                self.slot_of_digest[digest] = len(self.slot_of_digest)
                rows.append(row)
        taken = table.take(pa.array(rows, pa.int64()))
        first, end = len(self.slot_of_digest) - len(rows), len(self.slot_of_digest)
        self._vectors[first:end] = vectors_of(taken, self._dim)
        self._provenance.append(taken.select(self._schema.names).cast(self._schema))

    def take(self, slots: NDArray[np.int64]) -> pa.Table:
        """The vector and provenance columns of some slots."""
        self._provenance = [pa.concat_tables(self._provenance).combine_chunks()]
        flat = pa.array(self._vectors[slots].reshape(-1), pa.float32())
        vectors = pa.FixedSizeListArray.from_arrays(flat, self._dim)
        return self._provenance[0].take(pa.array(slots)).append_column("vector", vectors)


def collect_rows(
    store: Store,
    contract: Contract,
    *,
    plan: Plan,
    items: pa.Table,
    base: Release | None,
    shards: Sequence[str],
) -> NewRows:
    """The rows for every `encode` and `reuse` of the plan whose content has a vector.

    Args:
        store: the warehouse.
        contract: the space's.
        plan: the run's.
        items: `contract.item_columns` of the plan's items.
        base: the release that the plan was made from.
        shards: the files of the plan's finished shards.

    Raises:
        ContractBroken: an item has neither a vector nor a reason why it has none.
        Conflict: a shard is gone.
    """
    chosen = plan.rows("encode", "reuse")
    vectors = VectorSlots(set(chosen["digest"].to_pylist()), contract, store.scratch)
    failed = _fill_from_shards(vectors, store, contract, shards)
    vectors.wanted -= failed.keys()  # a published vector does not stand in for a new one
    if base is not None:
        _fill_from_parts(vectors, store, contract, base)
    digests = chosen["digest"].to_pylist()
    has_vector = pa.array([digest in vectors.slot_of_digest for digest in digests], pa.bool_())
    failures = _failures(chosen.filter(pc.invert(has_vector)), failed, contract)
    chosen = chosen.filter(has_vector)
    positions = pc.index_in(chosen["id"], value_set=items["id"].combine_chunks())
    rows = items.select(contract.item_columns).take(positions)
    rows = rows.append_column("content_digest", chosen["digest"]).combine_chunks()
    slots = [vectors.slot_of_digest[digest] for digest in chosen["digest"].to_pylist()]
    return NewRows(rows, np.array(slots, np.int64), vectors, failures)


def _fill_from_shards(
    vectors: VectorSlots, store: Store, contract: Contract, shards: Sequence[str]
) -> dict[str, Failure]:
    """Takes the vectors of this run; the failures among its contents, by digest."""
    failed: dict[str, Failure] = {}
    for key in shards:
        for group in shard_groups(store, key, contract.spec):
            for row in group.filter(pc.is_valid(group["reason"])).to_pylist():
                failure = Failure(Reason(row["reason"]), row["message"], row["retryable"])
                failed[row["content_digest"]] = failure
            vectors.fill(group.filter(pc.is_null(group["reason"])))
    return failed


def _fill_from_parts(
    vectors: VectorSlots, store: Store, contract: Contract, release: Release
) -> None:
    """Takes published vectors; parts that hold none of the missing ones are not read whole."""
    for part in release.parts:
        missing = vectors.missing
        if not len(missing):
            break
        digests = read_part(store, part, contract, ["content_digest"])["content_digest"]
        if pc.any(pc.is_in(digests, value_set=missing)).as_py():
            for group in read_part_groups(store, part, contract):
                vectors.fill(group)


def _failures(
    planned: pa.Table, failed: dict[str, Failure], contract: Contract
) -> dict[str, Failure]:
    """The failure of each planned item without a vector, by id."""
    rows = planned.to_pylist()
    unexplained = [row["id"] for row in rows if row["digest"] not in failed]
    if unexplained:
        raise ContractBroken(
            f"{len(unexplained)} planned items have neither a vector nor a reason, "
            f"{unexplained[0]!r} among them",
            item=contract.space,
        )
    return {row["id"]: failed[row["digest"]] for row in rows}


def _array_on_disk(folder: Path, rows: int, dim: int) -> NDArray[np.float32]:
    """A (rows, dim) float32 array in a file that vanishes with its last reader.

    Its space is reserved: on a disk that fills up later, a write to the array would end the
    process without an error.
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
