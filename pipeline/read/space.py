"""Reading: what a consumer does with a published space.

    books = commonspace.open("books/blurb")
    books.search("a whale hunt", k=10, where={"genre": "novel"})

A space is opened at one release and stays there: what it returns does not change under the
reader. The contract is checked when it is opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.config.files import warehouse_address
from commonspace.pipeline.contract.contract import Contract, stored_contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished, UserMistake, near
from commonspace.pipeline.read.lance_rows import LanceRows
from commonspace.pipeline.read.parquet_rows import ParquetRows
from commonspace.pipeline.read.query_encoder import Queries
from commonspace.pipeline.read.versions import full_name
from commonspace.pipeline.release.changes import Changes, changes_between
from commonspace.pipeline.release.history import ReleaseInfo, list_releases
from commonspace.pipeline.release.indexes import VectorIndex
from commonspace.pipeline.release.manifest import Part, Release, load_release, numbers
from commonspace.pipeline.release.parts import concatenated, read_part
from commonspace.pipeline.release.pointer import Current, current, require_pointer
from commonspace.pipeline.release.rejects import release_rejects
from commonspace.pipeline.release.retirement import retirement
from commonspace.pipeline.storage.store import Store, open_store


class Rows(Protocol):
    """The rows of one release, wherever they are read from."""

    def of(self, ids: Sequence[str]) -> pa.Table:
        """The rows of some ids, in no order."""
        ...

    def nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        where: str | Mapping[str, Any] | None,
        columns: Sequence[str],
        *,
        exact: bool,
    ) -> pa.Table:
        """The k rows of the highest cosine, highest first, with `similarity`."""
        ...


class Space:
    """One space at one release. `open_space` makes it."""

    def __init__(
        self,
        name: SpaceName,
        store: Store,
        contract: Contract,
        release: Release,
        pointer: Current | None,
    ) -> None:
        """pointer: what CURRENT says of the release; None for one that is not served."""
        self.name, self.release = str(name), release
        self._space, self._store, self._contract = name, store, contract
        self._queries, self._pointer = Queries(store, name, release, contract), pointer
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
        return release_rejects(self._store, self.release)

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
        the given values, or that a SQL condition holds for: k of them, where there are k.

        Every row is compared, unless the release has a vector index (`vector_index` says so).
        That finds the share of the ten nearest rows which was measured before the release was
        promoted, and for more rows looks farther; `exact` compares every row nevertheless.

        Raises UserMistake, NotPublished or ContractBroken.
        """
        given = [value is not None for value in (query, image, vector, id)]
        if sum(given) != 1:
            raise UserMistake("search takes exactly one of a text, an image, a vector and an id")
        if k < 1:
            raise UserMistake(f"k is {k}; it must be at least 1")
        k = min(k, len(self) + 1)  # LanceDB sets aside memory for as many
        if id is not None:
            near_what = self._vector_of(id)
        elif vector is not None:
            near_what = self._queries.given(vector)
        else:
            near_what = self._queries.encoded(query, image)
        return self._nearest(near_what, k, where, columns, exact=exact, without=id)

    def search_words(
        self,
        words: str,
        *,
        k: int = 10,
        where: str | Mapping[str, Any] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """The k rows that match some of the words best, best first, with `bm25`, the score.

        Looks into the columns that the space's `text_index` names, whatever they have been
        embedded for; a word is found as it is written, case and accents aside. Rows with none of
        the words are not found. Raises UserMistake where the release has no full-text index.
        """
        among = self.release.wanted.text
        if not words.strip():
            raise UserMistake("search_words takes at least one word")
        if k < 1:
            raise UserMistake(f"k is {k}; it must be at least 1")
        k = min(k, len(self) + 1)  # LanceDB sets aside memory for as many
        if not among:
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
        chosen = self._checked(columns, where)
        if not len(self):
            return pa.table({"id": pa.array([], pa.string()), "bm25": pa.array([], "f4")})
        with self._as_opened():
            return self._rows.matching(words, k, where, chosen, among)

    @property
    def vector_index(self) -> VectorIndex | None:
        """How a search uses an index, and what that finds; None where it compares every row."""
        indices = self._pointer.indices if self._pointer else None
        return indices.vector if indices else None

    def get(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in this order; all columns null where one is not published."""
        if isinstance(ids, str):
            raise UserMistake(f"get takes a list of ids: [{ids!r}]", item=self.name)
        with self._as_opened():
            found = self._rows.of(list(dict.fromkeys(ids)))
        found = found.select(self._contract.schema.names)
        at = pc.index_in(pa.array(ids, pa.string()), value_set=found["id"].combine_chunks())
        rows = found.combine_chunks().take(at)
        return rows.set_column(0, "id", pa.array(ids, pa.string())).append_column(
            "found", pc.is_valid(at)
        )

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every row of the release, from Parquet, sorted by partition, bucket and id."""
        known = self._contract.schema.names
        for column in columns or ():
            if column not in known:
                raise UserMistake(f"{self.name} has no column {column!r}" + near(column, known))
        parts = (self._read(part, columns) for part in self.release.parts)
        schema = self._contract.schema
        return concatenated(
            parts, pa.schema([f for f in schema if columns is None or f.name in columns])
        )

    def batches(self) -> Iterator[pa.Table]:
        """The rows of the release part by part, for spaces that exceed memory."""
        return (self._read(part) for part in self.release.parts)

    def files(self) -> list[str]:
        """The release's Parquet files, for Spark, DuckDB, Polars or anything else."""
        return [self._store.url(part.key) for part in self.release.parts]

    def at(self, release: int) -> Space:
        """The same space at another release that is kept: an older one, or a candidate.

        It is read from Parquet: every search compares every row, and `where` takes values only.
        Raises NotPublished, naming what is kept.
        """
        if release == self.release.number:
            return self
        pointer = current(self._store, self._space)
        found = load_release(self._store, self._space, release)
        served = pointer if pointer and pointer.release == release else None
        return Space(self._space, self._store, self._contract, found, served)

    def releases(self) -> list[ReleaseInfo]:
        """Every release of the space that is kept, ascending, with its state."""
        return list_releases(self._store, self._space)

    def changes(self, since: int) -> Changes:
        """What was added, changed and removed between release `since` and this one.

        `since` may be the younger of the two: after a rollback, for example. Raises
        NotPublished where it is not kept.
        """
        other = load_release(self._store, self._space, since)
        try:
            return changes_between(self._store, self._contract, other, self.release)
        except ContractBroken as error:
            raise self._removed(error, since, self.release.number) from error

    def _read(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            return read_part(self._store, part, self._contract, columns)
        except ContractBroken as error:
            raise self._removed(error, self.release.number) from error

    def _removed(self, error: ContractBroken, *releases: int) -> ContractBroken | NotPublished:
        """The error itself, or that retention has removed one of the releases meanwhile."""
        for number in releases:
            if number not in numbers(self._store, self._space):
                try:
                    load_release(self._store, self._space, number)
                except NotPublished as gone:
                    again = "Open the space again: it is at the release that is served. "
                    do = again + gone.do if number == self.release.number else gone.do
                    return NotPublished(gone.what, item=gone.item, do=do)
        return error

    @contextmanager
    def _as_opened(self) -> Iterator[None]:
        """Tells a table that is damaged from one that has gone on since the space was opened."""
        try:
            yield
        except ContractBroken as error:
            now = current(self._store, self._space)
            opened = self._pointer and (self._pointer.release, self._pointer.table_version)
            if not opened or now is None or opened == (now.release, now.table_version):
                raise
            raise NotPublished(
                f"LanceDB no longer holds release {opened[0]} as it was when the space was "
                f"opened: release {now.release} is served",
                item=self.name,
                do="Open the space again.",
            ) from error

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
        where: str | Mapping[str, Any] | None,
        columns: Sequence[str] | None,
        *,
        exact: bool,
        without: str | None,
    ) -> pa.Table:
        chosen = self._checked(columns, where)
        if not len(self):
            return pa.table({"id": pa.array([], pa.string()), "similarity": pa.array([], "f4")})
        with self._as_opened():
            more = k + (without is not None)
            found = self._rows.nearest(vector, more, where, chosen, exact=exact)
        if without is not None:
            found = found.filter(pc.not_equal(found["id"], without))
        return found.slice(0, k)

    def _checked(
        self, columns: Sequence[str] | None, where: str | Mapping[str, Any] | None
    ) -> list[str]:
        """The columns to answer with, once they and the filter's are known to be there."""
        names = [n for n in self._contract.schema.names if n != "vector"]
        chosen = ["id", *(c for c in columns if c != "id")] if columns is not None else names
        for column in [*chosen, *(where if isinstance(where, Mapping) else ())]:
            if column not in self._contract.schema.names:
                raise UserMistake(f"{self.name} has no column {column!r}" + near(column, names))
        for column, value in where.items() if isinstance(where, Mapping) else ():
            if not isinstance(value, str | int | float | bool | datetime):
                said = f"`where` compares {column!r} with {value!r}, which is no single value"
                raise UserMistake(said, do="Write it as SQL: \"genre IN ('a', 'b')\".")
            kind = self._contract.schema.field(column).type
            if not _comparable(value, kind):
                raise UserMistake(f"`where` compares {column!r}, a {kind}, with {value!r}")
        return chosen


def _comparable(value: str | int | float | bool | datetime, kind: pa.DataType) -> bool:
    """Whether a column of this type could hold the value."""
    try:
        held = pa.scalar(value).cast(kind).as_py()
    except pa.ArrowException:
        return False
    if isinstance(value, datetime):
        return bool(pa.types.is_timestamp(kind))
    same_kind = isinstance(value, bool) == bool(pa.types.is_boolean(kind))
    return same_kind and bool(held == value)


def open_space(name: str, *, warehouse: str | None = None) -> Space:
    """Open `collection/space/vN`, or `collection/space`: its highest version that is not retired.

    warehouse: a folder or s3://BUCKET/PREFIX; by default COMMONSPACE_WAREHOUSE, or ./warehouse.
    Warns (FutureWarning) where the version is retired. Raises NotPublished where nothing was
    promoted, ContractBroken where what is stored does not keep its contract.
    """
    store = open_store(warehouse or warehouse_address())
    full = full_name(store, name)
    contract, pointer = stored_contract(store, full), current(store, full)
    retired = retirement(store, full)
    if pointer is None or contract is None:
        if retired is None:
            require_pointer(store, full)
        was = f" (it was {retired})" if retired else ""
        raise NotPublished(
            f"{full} has no promoted release in {store.address}{was}",
            do="`commonspace show` lists what there is; COMMONSPACE_WAREHOUSE says where to look.",
        )
    if retired is not None:
        warnings.warn(f"{full} was {retired}", FutureWarning, stacklevel=2)
    return Space(full, store, contract, load_release(store, full, pointer.release), pointer)
