"""Reading: what a consumer does with a published space.

    books = commonspace.open("books/blurb")
    books.search("a whale hunt", k=10, where={"genre": "novel"})

A space is opened at one release and stays there: what it returns does not change under the
reader. The contract is checked when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from encoders import catalog
from encoders.protocol import Encoder
from encoders.reference import EncoderReference
from encoders.spec import EncoderSpec, differences
from pipeline.canary import published_canary
from pipeline.collection_files import warehouse_address
from pipeline.contract import Contract, SpaceName, bad_vectors, parse_name, stored_contract
from pipeline.errors import ContractBroken, NotPublished, UserMistake, near
from pipeline.flight import fly
from pipeline.lance import check_table, connect, equals, open_table, readable, rows_of
from pipeline.records import Current, Release
from pipeline.releases import current, load_release, read_part, release_rejects, whole
from pipeline.store import LocalStore, open_store


class Space:
    """One space at its current release. `open_space` makes it."""

    def __init__(
        self, name: SpaceName, store: LocalStore, contract: Contract, pointer: Current
    ) -> None:
        self.name = str(name)
        self.release: Release = load_release(store, name, pointer.release)
        self._space, self._store, self._contract, self._pointer = name, store, contract, pointer
        self._encoder: Encoder | None = None
        self._opened: Any = None
        if self.release.fingerprint != contract.fingerprint:
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
    ) -> pa.Table:
        """The k nearest rows, nearest first, with `similarity`: the cosine, in [-1, 1].

        Exactly one of `query` (text), `image` (a file's path or bytes), `vector` (dim,) and `id`
        says near what; an item is not its own neighbour. `where` keeps rows whose columns equal
        the given values, or that a SQL condition holds for. Exact: every row is compared.

        Raises UserMistake, NotPublished or ContractBroken.
        """
        given = [value is not None for value in (query, image, vector, id)]
        if sum(given) != 1:
            raise UserMistake("search takes exactly one of a text, an image, a vector and an id")
        if k < 1:
            raise UserMistake(f"k is {k}; it must be at least 1")
        near_what = self._query_vector(query, image, vector, id)
        return self._nearest(near_what, k, where, columns, without=id)

    def get(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in this order; all columns null where one is not published."""
        if isinstance(ids, str):
            raise UserMistake(f"get takes a list of ids: [{ids!r}]", item=self.name)
        with readable(self.name):
            found = rows_of(self._table, list(dict.fromkeys(ids)))
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
        parts = (
            read_part(self._store, part, self._contract, columns) for part in self.release.parts
        )
        schema = self._contract.schema
        return whole(parts, pa.schema([f for f in schema if columns is None or f.name in columns]))

    def batches(self) -> Iterator[pa.Table]:
        """The rows of the release part by part, for spaces that exceed memory."""
        return (read_part(self._store, part, self._contract) for part in self.release.parts)

    def files(self) -> list[str]:
        """The release's Parquet files, for Spark, DuckDB, Polars or anything else."""
        return [str(self._store.root / part.key) for part in self.release.parts]

    @property
    def _table(self) -> Any:
        if self._opened is None:
            database = connect(str(self._store.root))
            table = open_table(database, self._pointer.table)
            advice = f"Run `commonspace verify {self.name} --repair` to rebuild it."
            if table is None:
                raise ContractBroken("the LanceDB table is gone", item=self.name, do=advice)
            check_table(table, self._contract)
            try:
                table.checkout(self._pointer.table_version)
            except (ValueError, RuntimeError) as error:
                version = self._pointer.table_version
                raise ContractBroken(
                    f"version {version} of the LanceDB table is gone", item=self.name, do=advice
                ) from error
            self._opened = table
        return self._opened

    def _nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        where: str | Mapping[str, Any] | None,
        columns: Sequence[str] | None,
        without: str | None,
    ) -> pa.Table:
        names = [n for n in self._contract.schema.names if n != "vector"]
        chosen = ["id", *(c for c in columns if c != "id")] if columns is not None else names
        for column in [*chosen, *(where if isinstance(where, Mapping) else ())]:
            if column not in self._contract.schema.names:
                raise UserMistake(f"{self.name} has no column {column!r}" + near(column, names))
        if not len(self):
            return pa.table({"id": pa.array([], pa.string()), "similarity": pa.array([], "f4")})
        # Vectors are unit, so the inner product is the cosine, indexed or not.
        query = self._table.search(vector).distance_type("dot").limit(k + (without is not None))
        if isinstance(where, Mapping):
            for column, value in where.items():
                if not isinstance(value, str | int | float | bool | datetime):
                    said = f"`where` compares {column!r} with {value!r}, which is no single value"
                    raise UserMistake(said, do="Write it as SQL: \"genre IN ('a', 'b')\".")
        if where:
            condition = where if isinstance(where, str) else equals(dict(where))
            query = query.where(condition, prefilter=True)
        try:
            with readable(self.name) if not isinstance(where, str) else nullcontext():
                found = query.select([*chosen, "_distance"]).to_arrow()
        except (ValueError, RuntimeError) as error:
            raise UserMistake(f"the condition {where!r} was refused: {error}") from error
        similarity = pc.subtract(pa.scalar(1.0, pa.float32()), found["_distance"])
        found = found.drop(["_distance"]).append_column("similarity", similarity)
        if without is not None:
            found = found.filter(pc.not_equal(found["id"], without))
        return found.slice(0, k)

    def _query_vector(
        self,
        query: str | None,
        image: bytes | str | Path | None,
        vector: ArrayLike | None,
        item: str | None,
    ) -> NDArray[np.float32]:
        if item is not None:
            row = self.get([item])
            if not row["found"][0].as_py():
                raise NotPublished(
                    f"item {item!r} is not in release {self.release.number}", item=self.name
                )
            return np.asarray(row["vector"][0].as_py(), np.float32)
        if vector is not None:
            given: NDArray[np.float32] = np.asarray(vector, np.float32)
            if given.shape != (self.spec.dim,):
                shape = f"{given.shape}, not ({self.spec.dim},)"
                raise UserMistake(f"the query vector has shape {shape}", item=self.name)
            norm = float(np.linalg.norm(given))
            if not np.isfinite(norm) or norm == 0:
                raise UserMistake("the query vector is zero or not finite", item=self.name)
            return (given / norm).astype(np.float32)
        self._require_modality("text" if query is not None else "image")
        return self._encode(query if query is not None else _image_bytes(image))

    def _require_modality(self, wanted: str) -> None:
        if wanted not in (self.spec.modality, *self.spec.queries):
            raise UserMistake(
                f"this is a space of {self.spec.modality}s: it cannot be searched by {wanted}",
                item=self.name,
            )

    def _encode(self, content: str | bytes) -> NDArray[np.float32]:
        if self._encoder is None:
            self._encoder = load_encoder(self._store, self._space, self.release, self._contract)
        encoded = self._encoder.encode([content], purpose="query")
        if encoded.failures:
            raise UserMistake(f"the query cannot be encoded: {encoded.failures[0].message}")
        if bad_vectors(encoded.vectors, self.spec).any():
            raise ContractBroken("the encoder gave an unusable vector", item=self.name)
        vector: NDArray[np.float32] = encoded.vectors[0]
        return vector


def _image_bytes(image: bytes | str | Path | None) -> bytes:
    """The bytes of an image file, or those given."""
    if not isinstance(image, str | Path):
        return image or b""
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise UserMistake(f"cannot be read: {error.strerror}", item=str(image)) from error


def load_encoder(
    store: LocalStore, name: SpaceName, release: Release, contract: Contract
) -> Encoder:
    """The encoder that made the release, proved by its fingerprint and by the space's canary.

    A space that was published before there were canaries has none: its fingerprint alone counts.
    Raises ContractBroken.
    """
    canary = published_canary(store, name, contract, release.canary)
    encoder = unproved_encoder(release, contract)
    if canary is not None and not (flight := fly(canary, encoder)).ok:
        raise ContractBroken(
            flight.what,
            item=str(name),
            retry=flight.retry,
            do=f"{flight.do}\n  Search by vector or id works without the encoder.",
        )
    return encoder


def unproved_encoder(release: Release, contract: Contract) -> Encoder:
    """The encoder of the release's fingerprint. Raises ContractBroken."""
    reference = EncoderReference.from_json(release.encoder)
    spec = catalog.describe(reference)
    if spec.fingerprint != contract.fingerprint:
        found = "\n  ".join(str(d) for d in differences(contract.spec, spec))
        raise ContractBroken(
            f"the encoder {reference.name} is no longer the one that made its vectors:\n  {found}",
            item=contract.space,
            do="Restore the model; search by vector or id works without it.",
        )
    return catalog.load(reference)


def open_space(name: str, *, warehouse: str | None = None) -> Space:
    """Open `collection/space` (its highest promoted version) or `collection/space/vN`.

    warehouse: a folder; by default COMMONSPACE_WAREHOUSE, or ./warehouse.
    Raises NotPublished where nothing was promoted, ContractBroken where what is stored does
    not keep its contract.
    """
    store = open_store(warehouse or warehouse_address())
    collection, space, version = parse_name(name)
    versions = published_versions(store, collection, space)
    if version is None:
        version = max(versions, default=1)
    full = SpaceName(collection, space, version)
    pointer = current(store, full) if version in versions else None
    contract = stored_contract(store, full)
    if pointer is None or contract is None:
        raise NotPublished(
            f"{full} has no promoted release in {store.root}",
            do="`commonspace show` lists what there is; COMMONSPACE_WAREHOUSE says where to look.",
        )
    return Space(full, store, contract, pointer)


def published_versions(store: LocalStore, collection: str, space: str) -> list[int]:
    """The versions of a space that have a promoted release."""
    folder = store.root / collection / space
    found = (
        re.fullmatch(r"v([0-9]+)/CURRENT", p.relative_to(folder).as_posix())
        for p in folder.glob("v*/CURRENT")
    )
    return sorted(int(match[1]) for match in found if match)
