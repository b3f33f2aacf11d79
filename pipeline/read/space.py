"""What a consumer does with a published space: search it, take its rows, compare its releases.

    books = commonspace.open("books/blurb")
    books.search("a whale hunt", k=10, where={"genre": "novel"})

A space is opened at one release and stays there: what it returns does not change while it is
read. Its contract is checked when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished, UserMistake, did_you_mean
from commonspace.pipeline.read.filters import Where, checked_columns, checked_limit
from commonspace.pipeline.read.lance_rows import LanceRows
from commonspace.pipeline.read.parquet_rows import ParquetRows
from commonspace.pipeline.read.query_encoder import QueryEncoder
from commonspace.pipeline.read.rows import Rows
from commonspace.pipeline.read.staleness import explain_unreadable_part, explaining_promotions
from commonspace.pipeline.release.changes import Changes, changes_between
from commonspace.pipeline.release.history import ReleaseInfo, list_releases
from commonspace.pipeline.release.indexes import VectorIndex
from commonspace.pipeline.release.manifest import Part, Release, load_release
from commonspace.pipeline.release.parts import concat_or_empty, read_part
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.storage.store import Store


class Space:
    """One space at one release; `open_space` makes it."""

    def __init__(
        self,
        name: SpaceName,
        store: Store,
        contract: Contract,
        release: Release,
        pointer: Current | None,
    ) -> None:
        """See `open_space`; pointer is None for a release that is not served."""
        self.name, self.release = str(name), release
        self._space, self._store, self._contract = name, store, contract
        self._query_encoder = QueryEncoder(store, name, release, contract)
        self._pointer = pointer
        self._rows: Rows = (
            LanceRows(store.address, contract, pointer)
            if pointer
            else ParquetRows(contract, release.parts, self._read)
        )
        if release.fingerprint != contract.fingerprint:
            raise ContractBroken("the release and spec.json disagree", item=self.name)

    @property
    def spec(self) -> EncoderSpec:
        """What its vectors mean."""
        return self._contract.spec

    @property
    def rejects(self) -> pa.Table:
        """What the release could not embed, with a reason for each."""
        return read_rejects(self._store, self.release)

    def __len__(self) -> int:
        return self.release.rows

    def __repr__(self) -> str:
        return (
            f"Space({self.name!r}, release={self.release.number}, rows={len(self)}, "
            f"dim={self.spec.dim}, encoder={self.spec.label!r})"
        )

    def search(
        self,
        query: str | None = None,
        *,
        image: bytes | str | Path | None = None,
        vector: ArrayLike | None = None,
        id: str | None = None,  # noqa: A002
        k: int = 10,
        where: str | Mapping[str, Any] | None = None,
        columns: Sequence[str] | None = None,
        exact: bool = False,
    ) -> pa.Table:
        """The k nearest rows, nearest first, with `similarity`: the cosine, in [-1, 1].

        Exactly one of `query` (text), `image` (a file's path or bytes), `vector` (dim,) and `id`
        says near what; an item is not its own neighbour. `where` keeps rows whose columns equal
        the given values, or for which a SQL condition is true: k of them, where there are k.

        Every row is compared, unless the release has a vector index (`vector_index` says so).
        It finds the share of the ten nearest rows that was measured before the release was
        promoted; for more rows, more of the index is searched. `exact` compares every row anyway.

        Raises:
            UserMistake: what is searched for, a column or the filter cannot be used.
            NotPublished: there is no such id, or the release is not there any more.
            ContractBroken: the table or the encoder is not what the space was published with.
        """
        if sum(value is not None for value in (query, image, vector, id)) != 1:
            raise UserMistake("search takes exactly one of a text, an image, a vector and an id")
        k = checked_limit(k, len(self))
        if id is not None:
            query_vector = self._vector_of(id)
        elif vector is not None:
            query_vector = self._query_encoder.normalised(vector)
        else:
            query_vector = self._query_encoder.encode(query, image)
        return self._nearest(query_vector, k, where, columns, exact=exact, without=id)

    def search_words(
        self,
        words: str,
        *,
        k: int = 10,
        where: str | Mapping[str, Any] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """The k rows that match some of the words best, best first, with `bm25`, the score.

        Searches the columns that the space's `text_index` names, whether they are embedded or
        not. A word is found as it is written, case and accents aside. Rows with none of the words
        are not found.

        Raises:
            UserMistake: the release has no full-text index, or a column or the filter cannot be
                used.
            NotPublished: the release is not there any more.
            ContractBroken: the table or its index is damaged.
        """
        indexed_columns = self.release.wanted.text
        if not words.strip():
            raise UserMistake("search_words takes at least one word")
        k = checked_limit(k, len(self))
        if not indexed_columns:
            raise UserMistake(
                "has no full-text index",
                item=self.name,
                do='Its owner adds text_index = ["a column"] to its [[space]] and runs again.',
            )
        if not isinstance(self._rows, LanceRows):
            raise UserMistake(
                f"release {self.release.number} is read from Parquet, which has no full-text index",
                item=self.name,
                do="Search the served release for words, or this one near a text.",
            )
        returned = checked_columns(self._contract, columns, where)
        if not len(self):
            return pa.table({"id": pa.array([], pa.string()), "bm25": pa.array([], "f4")})
        with self._explaining_promotions():
            return self._rows.matching(words, k, where, returned, indexed_columns)

    @property
    def vector_index(self) -> VectorIndex | None:
        """How searches use the vector index, and its recall; None where every row is compared."""
        indices = self._pointer.indices if self._pointer else None
        return indices.vector if indices else None

    def get(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in this order; all columns null where one is not published.

        The column `found` says which ones are.

        Raises:
            UserMistake: `ids` is one string instead of a list.
            NotPublished: the release is not there any more.
            ContractBroken: the table is damaged.
        """
        if isinstance(ids, str):
            raise UserMistake(f"get takes a list of ids: [{ids!r}]", item=self.name)
        with self._explaining_promotions():
            rows = self._rows.by_ids(list(dict.fromkeys(ids)))
        rows = rows.select(self._contract.schema.names).combine_chunks()
        asked_ids = pa.array(ids, pa.string())
        positions = pc.index_in(asked_ids, value_set=rows["id"].combine_chunks())
        in_order = rows.take(positions).set_column(0, "id", asked_ids)
        return in_order.append_column("found", pc.is_valid(positions))

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every row of the release, from Parquet, sorted by partition, bucket and id.

        Raises:
            UserMistake: there is no such column.
            NotPublished: the release was removed.
            ContractBroken: a part is damaged.
        """
        schema = self._contract.schema
        for column in columns or ():
            if column not in schema.names:
                message = f"{self.name} has no column {column!r}" + did_you_mean(column, schema.names)
                raise UserMistake(message)
        parts = (self._read(part, columns) for part in self.release.parts)
        fields = [field for field in schema if columns is None or field.name in columns]
        return concat_or_empty(parts, pa.schema(fields))

    def batches(self) -> Iterator[pa.Table]:
        """The rows of the release part by part, for spaces that exceed memory."""
        return (self._read(part) for part in self.release.parts)

    def files(self) -> list[str]:
        """The release's Parquet files, for Spark, DuckDB, Polars or anything else."""
        return [self._store.url(part.key) for part in self.release.parts]

    def at(self, release: int) -> Space:
        """The same space at another release that is kept: an older one, or a candidate.

        It is read from Parquet: every search compares every row, and `where` takes values only.

        Raises:
            NotPublished: the release is not kept; the message lists those that are.
        """
        if release == self.release.number:
            return self
        pointer = load_current(self._store, self._space)
        manifest = load_release(self._store, self._space, release)
        served = pointer if pointer and pointer.release == release else None
        return Space(self._space, self._store, self._contract, manifest, served)

    def releases(self) -> list[ReleaseInfo]:
        """Every release of the space that is kept, ascending, with its state."""
        return list_releases(self._store, self._space)

    def changes(self, since: int) -> Changes:
        """What was added, changed and removed between release `since` and this one.

        `since` may be the younger of the two: after a rollback, for example.

        Raises:
            NotPublished: `since` is not kept.
            ContractBroken: a part is damaged.
        """
        other = load_release(self._store, self._space, since)
        try:
            return changes_between(self._store, self._contract, other, self.release)
        except ContractBroken as error:
            raise self._explained(error, since, self.release.number) from error

    def _read(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            return read_part(self._store, part, self._contract, columns)
        except ContractBroken as error:
            raise self._explained(error, self.release.number) from error

    def _explained(self, error: ContractBroken, *needed: int) -> ContractBroken | NotPublished:
        return explain_unreadable_part(
            self._store, self._space, error, opened=self.release.number, needed=needed
        )

    def _explaining_promotions(self) -> AbstractContextManager[None]:
        return explaining_promotions(self._store, self._space, self._pointer)

    def _vector_of(self, item: str) -> NDArray[np.float32]:
        row = self.get([item])
        if not row["found"][0].as_py():
            raise NotPublished(
                f"item {item!r} is not in release {self.release.number}", item=self.name
            )
        return np.asarray(row["vector"][0].as_py(), np.float32)

    def _nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        where: Where,
        columns: Sequence[str] | None,
        *,
        exact: bool,
        without: str | None,
    ) -> pa.Table:
        returned = checked_columns(self._contract, columns, where)
        if not len(self):
            return pa.table({"id": pa.array([], pa.string()), "similarity": pa.array([], "f4")})
        limit = k + (without is not None)
        with self._explaining_promotions():
            rows = self._rows.nearest(vector, limit, where, returned, exact=exact)
        if without is not None:
            rows = rows.filter(pc.not_equal(rows["id"], without))
        return rows.slice(0, k)
