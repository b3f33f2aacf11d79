"""What a consumer does with a published space: search it, take its rows, compare its releases.

    books = commonspace.open("books/blurb")
    books.search("a whale hunt", k=10, where={"genre": "novel"})

A space is opened at one release and stays there: what it returns does not change while it is
read. Its contract is checked when it is opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import ArrayLike

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.config.places import warehouse_address
from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.errors import NotPublished, UserMistake
from commonspace.pipeline.read.filters import checked_limit, checked_names, checked_release
from commonspace.pipeline.read.query_encoder import QueryEncoder
from commonspace.pipeline.read.release_reader import ReleaseReader
from commonspace.pipeline.read.space_versions import resolve_space_name
from commonspace.pipeline.release.changes import Changes
from commonspace.pipeline.release.history import ReleaseInfo, list_releases
from commonspace.pipeline.release.indexes import VectorIndex
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.markers.retirement import load_retirement
from commonspace.pipeline.release.parts import concat_or_empty
from commonspace.pipeline.release.pointer import load_current, require_pointer
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.storage.store import open_store


class Space:
    """One space at one release; `open_space` makes it."""

    def __init__(self, reader: ReleaseReader) -> None:
        """See `open_space`."""
        self.name, self.release = str(reader.name), reader.release
        self._reader = reader
        self._query_encoder = QueryEncoder(
            reader.store, reader.name, reader.release, reader.contract
        )

    @property
    def spec(self) -> EncoderSpec:
        """What its vectors mean."""
        return self._reader.contract.spec

    @property
    def recipe(self) -> Recipe | None:
        """Which columns of a record were embedded, in which order, joined by which rule.

        None in a release from before this was recorded; in the served one, until its owner runs
        the space as a whole.
        """
        stored = self._reader.stored_contract if self._reader.pointer else None
        return self.release.recipe_as_served(stored)

    @property
    def rejects(self) -> pa.Table:
        """What the release could not embed, with a reason for each."""
        return read_rejects(self._reader.store, self.release)

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
        says near what; an item is not its own neighbour. `where` keeps rows whose columns have the
        given values (one of a list), or for which SQL is true; times without a zone are in UTC.

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
            query_vector = self._reader.vector_of(id)
        elif vector is not None:
            query_vector = self._query_encoder.normalised(vector)
        else:
            query_vector = self._query_encoder.encode(query, image)
        return self._reader.nearest(query_vector, k, where, columns, exact=exact, without=id)

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
        if not isinstance(words, str) or not words.strip():
            raise UserMistake(f"search_words takes a text of at least one word, not {words!r}")
        return self._reader.matching(words, checked_limit(k, len(self)), where, columns)

    @property
    def vector_index(self) -> VectorIndex | None:
        """How searches use the vector index, and its recall; None where every row is compared."""
        pointer = self._reader.pointer
        return pointer.indexes.vector if pointer and pointer.indexes else None

    def get(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in this order; all columns null where one is not published.

        The column `found` says which ones are.

        Raises:
            UserMistake: `ids` is one string instead of a list, or holds what is no text.
            NotPublished: the release is not there any more.
            ContractBroken: the table is damaged.
        """
        return self._reader.by_ids(ids)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every row of the release, from Parquet, sorted by partition, bucket and id.

        Raises:
            UserMistake: there is no such column.
            NotPublished: the release was removed.
            ContractBroken: a part is damaged.
        """
        schema = self._reader.contract.schema
        if columns is not None:
            columns = checked_names(self._reader.contract, columns, schema.names)
        parts = (self._reader.read_part(part, columns) for part in self.release.parts)
        fields = [field for field in schema if columns is None or field.name in columns]
        return concat_or_empty(parts, pa.schema(fields))

    def batches(self) -> Iterator[pa.Table]:
        """The rows of the release part by part, for spaces that exceed memory."""
        return (self._reader.read_part(part) for part in self.release.parts)

    def files(self) -> list[str]:
        """The release's Parquet files, for Spark, DuckDB, Polars or anything else."""
        return [self._reader.store.url(part.key) for part in self.release.parts]

    def at(self, release: int) -> Space:
        """The same space at another release that is kept: an older one, or a candidate.

        It is read from Parquet: every search compares every row.

        Raises:
            NotPublished: the release is not kept; the message lists those that are.
        """
        if release == self.release.number:
            return self
        opened = self._reader
        pointer = load_current(opened.store, opened.name)
        manifest = load_release(opened.store, opened.name, checked_release(release))
        served = pointer if pointer and pointer.release == release else None
        contract = opened.stored_contract
        return Space(ReleaseReader(opened.name, opened.store, contract, manifest, served))

    def releases(self) -> list[ReleaseInfo]:
        """Every release of the space that is kept, ascending, with its state."""
        return list_releases(self._reader.store, self._reader.name)

    def changes(self, since: int) -> Changes:
        """What was added, changed and removed between release `since` and this one.

        `since` may be the younger of the two: after a rollback, for example.

        Raises:
            NotPublished: `since` is not kept.
            ContractBroken: a part is damaged.
        """
        return self._reader.changes(checked_release(since))


def open_space(name: str, *, warehouse: str | None = None) -> Space:
    """Open `collection/space/vN`, or `collection/space`: its highest version that is not retired.

    Warns (FutureWarning) where the version is retired.

    Args:
        name: the space, with or without its version.
        warehouse: a folder or s3://BUCKET/PREFIX; by default COMMONSPACE_WAREHOUSE, or
            ./warehouse.

    Raises:
        NotPublished: the space has no promoted release.
        ContractBroken: what is stored does not keep the space's contract.
    """
    store = open_store(warehouse or warehouse_address())
    space = resolve_space_name(store, name)
    contract, pointer = load_contract(store, space), load_current(store, space)
    retired = load_retirement(store, space)
    if pointer is None or contract is None:
        if retired is None:
            require_pointer(store, space)
        was_retired = f" (it was {retired})" if retired else ""
        raise NotPublished(
            f"{space} has no promoted release in {store.address}{was_retired}",
            do="`commonspace show` lists what there is; COMMONSPACE_WAREHOUSE says where to look.",
        )
    if retired is not None:
        warnings.warn(f"{space} was {retired}", FutureWarning, stacklevel=2)
    release = load_release(store, space, pointer.release)
    return Space(ReleaseReader(space, store, contract, release, pointer))
