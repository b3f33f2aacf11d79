"""The rows of one release, as they were when the reader opened it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.contract.arrays import string_array
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.stored_columns import in_columns_of
from commonspace.pipeline.errors import ContractBroken, NotPublished, UserMistake
from commonspace.pipeline.read.filters import (
    Filter,
    Where,
    checked_columns,
    checked_filter,
    checked_ids,
)
from commonspace.pipeline.read.lance_rows import LanceRows
from commonspace.pipeline.read.parquet_rows import ParquetRows
from commonspace.pipeline.read.rows import Rows, VectorQuery
from commonspace.pipeline.read.served_rows import ServedRows
from commonspace.pipeline.release.changes import Changes, changes_between
from commonspace.pipeline.release.manifest import Part, Release, load_release, release_numbers
from commonspace.pipeline.release.parts import concat_or_empty, read_part, read_part_groups
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import Store


class ReleaseReader:
    """Reads one release: its Parquet parts, or LanceDB where it is served and that is quicker.

    An error says whether something is damaged, or whether the release was removed or replaced
    after the reader had opened it.
    """

    def __init__(
        self,
        name: SpaceName,
        store: Store,
        contract: Contract,
        release: Release,
        pointer: Current | None,
    ) -> None:
        """See `open_space`; contract is the stored one, pointer None for a release not served."""
        if release.fingerprint != contract.fingerprint:
            raise ContractBroken("the release and spec.json disagree", item=str(name))
        self.name, self.store, self.stored_contract = name, store, contract
        self.contract = release.contract(contract)
        self.release, self.pointer = release, pointer

    @cached_property
    def rows(self) -> Rows:
        """Where the rows are read from."""
        parquet = ParquetRows(self.contract, self.release.parts, self.read_part)
        if self.pointer is None:
            return parquet
        return ServedRows(LanceRows(self.store.address, self.contract, self.pointer), parquet)

    def read_part(
        self, part: Part, columns: Sequence[str] | None = None, ids: pa.Array | None = None
    ) -> pa.Table:
        """The rows of one part: all columns by default; with `ids`, only the rows with those."""
        try:
            if ids is None:
                return read_part(self.store, part, self.contract, columns)
            groups = read_part_groups(self.store, part, self.contract, columns, ids)
            return concat_or_empty(groups, self.contract.schema)
        except ContractBroken as error:
            raise self._explained(error, self.release.number) from error

    def by_ids(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in this order, with a column `found`; null where it is false.

        Raises:
            UserMistake: they are no list, or one of them is no text.
        """
        ids = checked_ids(self.contract, ids)
        with self._explaining_promotions():
            rows = self.rows.by_ids(list(dict.fromkeys(ids)))
        rows = in_columns_of(self.contract, rows).combine_chunks()
        wanted_ids = string_array(ids)
        positions = pc.index_in(wanted_ids, value_set=rows["id"].combine_chunks())
        in_order = rows.take(positions).set_column(0, "id", wanted_ids)
        return in_order.append_column("found", pc.is_valid(positions))

    def vector_of(self, item: str) -> NDArray[np.float32]:
        """The vector (dim,) float32 of a published item."""
        row = self.by_ids([item])
        if not row["found"][0].as_py():
            raise NotPublished(
                f"item {item!r} is not in release {self.release.number}", item=str(self.name)
            )
        return np.asarray(row["vector"][0].as_py(), np.float32)

    def nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        where: Where,
        columns: Sequence[str] | None,
        *,
        exact: bool,
        without: str | None,
    ) -> pa.Table:
        """`Rows.nearest`, but for the item `without`; columns and filter are checked first."""
        returned, row_filter = self._checked(columns, where)
        if not self.release.rows:
            return pa.table({"id": pa.array([], pa.string()), "similarity": pa.array([], "f4")})
        limit = k + (without is not None)
        query = VectorQuery(vector=vector, k=limit, where=row_filter, columns=returned, exact=exact)
        with self._explaining_promotions():
            rows = self.rows.nearest(query)
        if without is not None:
            is_itself = pc.is_in(rows["id"], value_set=string_array([without]))
            rows = rows.filter(pc.invert(is_itself))
        return rows.slice(0, k)

    def matching(self, words: str, k: int, where: Where, columns: Sequence[str] | None) -> pa.Table:
        """The k rows that match the words best, with `bm25`; columns and filter are checked."""
        indexed_columns = self.release.index_settings.text
        if not indexed_columns:
            raise UserMistake(
                "has no full-text index",
                item=str(self.name),
                do='Its owner adds text_index = ["a column"] to its [[space]] and runs again.',
            )
        if not isinstance(self.rows, ServedRows):
            raise UserMistake(
                f"release {self.release.number} is read from Parquet, which has no full-text index",
                item=str(self.name),
                do="Search the served release for words, or this one by text.",
            )
        returned, row_filter = self._checked(columns, where)
        if not self.release.rows:
            return pa.table({"id": pa.array([], pa.string()), "bm25": pa.array([], "f4")})
        with self._explaining_promotions():
            return self.rows.matching(words, k, row_filter, returned, indexed_columns)

    def _checked(self, columns: Sequence[str] | None, where: Where) -> tuple[list[str], Filter]:
        return checked_columns(self.contract, columns), checked_filter(self.contract, where)

    def changes(self, since: int) -> Changes:
        """What differs between release `since` and this one."""
        other = load_release(self.store, self.name, since)
        try:
            return changes_between(self.store, self.stored_contract, other, self.release)
        except ContractBroken as error:
            raise self._explained(error, since, self.release.number) from error

    def _explained(self, error: ContractBroken, *needed: int) -> ContractBroken | NotPublished:
        """The error itself, or that retention has removed one of the releases that are needed."""
        for number in needed:
            if number not in release_numbers(self.store, self.name):
                try:
                    load_release(self.store, self.name, number)
                except NotPublished as removed:
                    again = "Open the space again: it is at the release that is served. "
                    do = again + removed.do if number == self.release.number else removed.do
                    return NotPublished(removed.what, item=removed.item, do=do)
        return error

    @contextmanager
    def _explaining_promotions(self) -> Iterator[None]:
        """Tells a damaged table from one that a promotion has changed since it was opened."""
        try:
            yield
        except ContractBroken as error:
            latest = load_current(self.store, self.name)
            opened = self.pointer and (self.pointer.release, self.pointer.table_version)
            if not opened or latest is None or opened == (latest.release, latest.table_version):
                raise
            raise NotPublished(
                f"LanceDB no longer holds release {opened[0]} as it was when the space was "
                f"opened: release {latest.release} is served",
                item=str(self.name),
                do="Open the space again.",
            ) from error
