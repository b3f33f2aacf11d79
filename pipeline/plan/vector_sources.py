"""Where vectors of some contents lie already: in other releases of the same encoder.

A vector is known by the fingerprint of its encoder and the digest of its content, whatever space
it was made for. Looked at are the space's own earlier releases, then those of every other space of
the warehouse: of other versions, other names, other collections.

A release is trusted if it is served, or if the served one was made from it: one that was rolled
back, or was never promoted, is not. Versions that are retired, and what is being removed, are left
out. What is damaged is skipped, and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.plan.plan import ELSEWHERE_SCHEMA
from commonspace.pipeline.read.space_versions import begun_versions
from commonspace.pipeline.release.history import load_readable_manifests
from commonspace.pipeline.release.manifest import Part, Release, load_release
from commonspace.pipeline.release.parts import read_part
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.release.removal import load_pending_removal
from commonspace.pipeline.release.retirement import load_retirement
from commonspace.pipeline.source.notices import Notice, NoticeKind, Notices
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class VectorSource:
    """A part of a release of a space; both have the wanted encoder."""

    space: str
    part: Part

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(document["space"], Part(**document["part"]))


@dataclass(frozen=True, kw_only=True)
class ReuseNote:
    """By the name of a shard, where the vectors of its contents lie."""

    FILE: ClassVar[str] = "reuse.json"

    sources: Mapping[str, VectorSource] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {shard: asdict(source) for shard, source in self.sources.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(sources={s: VectorSource.from_json(value) for s, value in document.items()})


@dataclass(frozen=True, kw_only=True)
class FoundVectors:
    """What was found of some contents.

    Attributes:
        contents: `digest` and `source`, the position in `sources` of the part with its vector.
        sources: Parts of releases.
        notices: How many were found in which space, and what was skipped for its damage.
    """

    contents: pa.Table = field(default_factory=ELSEWHERE_SCHEMA.empty_table)
    sources: tuple[VectorSource, ...] = ()
    notices: Notices = field(default_factory=Notices)


def find_vectors(
    store: Store, name: SpaceName, contract: Contract, base: Release | None, wanted: pa.Array
) -> FoundVectors:
    """Where the vectors of the wanted contents lie, in parts that are not of the base.

    Only the digests of contents are read, of releases whose manifest has the fingerprint.

    Args:
        store: the warehouse.
        name: the space that is planned.
        contract: its contract.
        base: its served release, whose vectors are known.
        wanted: digests, each once.

    Raises:
        StoreFailed: the bucket failed.
    """
    notices = Notices()
    seen = {part.key for part in base.parts} if base else set()
    tables, sources = [ELSEWHERE_SCHEMA.empty_table()], list[VectorSource]()
    for space in _spaces(store, name):
        found = 0
        for release, condemned in _trusted_releases(store, space, contract.fingerprint, notices):
            if not len(wanted):
                break
            parts = [p for p in release.parts if p.key not in seen and p.key not in condemned]
            seen |= {part.key for part in parts}
            table = _look_up(store, contract, parts, wanted, len(sources), space, notices)
            sources += [VectorSource(str(space), part) for part in parts]
            tables.append(table)
            found += table.num_rows
            digests = table["digest"].combine_chunks()
            wanted = wanted.filter(pc.invert(pc.is_in(wanted, value_set=digests)))
        if found:
            notices.add(Notice(NoticeKind.VECTORS_FOUND, f"in {space}"), found)
    return FoundVectors(contents=pa.concat_tables(tables), sources=tuple(sources), notices=notices)


def _spaces(store: Store, first: SpaceName) -> Iterator[SpaceName]:
    """Every version of every space: this one, those of its collection, then the others."""
    yield first
    collections = [name for name in store.folders("") if "." not in name]
    for collection in sorted(collections, key=lambda each: (each != first.collection, each)):
        for space in store.folders(collection):
            for version in begun_versions(store, collection, space):
                if (name := SpaceName(collection, space, version)) != first:
                    yield name


def _trusted_releases(
    store: Store, name: SpaceName, fingerprint: str, notices: Notices
) -> Iterator[tuple[Release, frozenset[str]]]:
    """The releases to look at, the newest first, and the keys of files that are being removed."""
    try:
        pointer = load_current(store, name)
        if pointer is None or load_retirement(store, name) is not None:
            return
        served = load_release(store, name, pointer.release)
        if served.fingerprint != fingerprint:
            return
        pending = load_pending_removal(store, name)
    except ContractBroken as error:
        notices.add(_skipped(name, error))
        return
    manifests, damaged = load_readable_manifests(store, name)
    for broken in damaged.values():
        notices.add(_skipped(name, broken))
    for number in ancestors(
        {number: release.parent for number, release in manifests.items()}, served.number
    ):
        if number not in pending.releases:
            yield manifests[number], pending.files


def ancestors(parents: Mapping[int, int], served: int) -> list[int]:
    """The served release and the kept ones that it was made from, the newest first.

    Where the line breaks off, because one was removed, all that are older count: which of them
    were served is not known any more.

    Args:
        parents: of each kept release, by number, the one it was made from.
        served: the number of the served release.
    """
    line, number = list[int](), served
    while number in parents:
        line.append(number)
        number = parents[number]
    return line + sorted((n for n in parents if line and n < line[-1]), reverse=True)


def _look_up(
    store: Store,
    contract: Contract,
    parts: list[Part],
    wanted: pa.Array,
    first: int,
    space: SpaceName,
    notices: Notices,
) -> pa.Table:
    """As `FoundVectors.contents`, of some parts; `first`: the position of their first source."""
    digests, ends = [pa.array([], pa.string())], []
    for part in parts:
        try:
            column = read_part(store, part, contract, ["content_digest"])["content_digest"]
            digests += column.chunks
        except ContractBroken as error:
            notices.add(_skipped(space, error))
        ends.append(sum(map(len, digests)))
    row = pc.index_in(wanted, value_set=pa.concat_arrays(digests))
    found = row.is_valid()
    rows = row.filter(found).to_numpy(zero_copy_only=False)
    positions = first + np.searchsorted(np.array(ends, np.int64), rows, side="right")
    return pa.table({"digest": wanted.filter(found), "source": pa.array(positions, pa.int64())})


def _skipped(space: SpaceName, error: ContractBroken) -> Notice:
    return Notice(NoticeKind.SOURCE_SKIPPED, f"in {space}", f"{error.item} {error.what}")
