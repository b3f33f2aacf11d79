"""Where vectors of some contents lie already: in other releases of the same encoder.

A vector is known by the fingerprint of its encoder and the digest of its content, whatever space
it was made for. Looked at are the space's own earlier releases, then those of every other space of
the warehouse: of other versions, other names, other collections.

A release is trusted if it is served, or if the served one was made from it: one that was rolled
back, or was never promoted, is not. Versions that are retired, and what is being removed, are left
out. What is damaged, or hidden from these credentials, is skipped, and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import CommonspaceError, ContractBroken, StoreFailed
from commonspace.pipeline.plan.plan import ELSEWHERE_SCHEMA
from commonspace.pipeline.read.space_versions import begun_versions
from commonspace.pipeline.release.history import load_readable_manifests
from commonspace.pipeline.release.manifest import Part, Release, load_release
from commonspace.pipeline.release.markers.removal import load_pending_removal
from commonspace.pipeline.release.markers.retirement import load_retirement
from commonspace.pipeline.release.parts import read_part
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.source.notices import Notice, NoticeKind, Notices
from commonspace.pipeline.storage.store import Store

UNKNOWN_TOKENS = "tokens_unknown"


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
        notices: How many were found in which space, and what was skipped, and why.
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
        StoreFailed: the bucket failed, or hides the space itself.
    """
    search = _Search(
        store, contract, wanted, seen={part.key for part in base.parts} if base else set()
    )
    for space in _spaces(store, name, search.notices):
        if space == name:
            search.look_at(space)
        else:
            with _skipping_hidden(search.notices, f"in {space}"):
                search.look_at(space)
    return FoundVectors(
        contents=pa.concat_tables([ELSEWHERE_SCHEMA.empty_table(), *search.tables]),
        sources=tuple(search.sources),
        notices=search.notices,
    )


def counted_rows(contract: Contract, rows: pa.Table) -> pa.Table:
    """Those rows of a part that may be copied: texts whose unknown tokens were counted.

    The others are from before a text of which a model knows no token was a reject: some may be of
    such a text, and a new row must not be. Images are all copied.

    Args:
        contract: that of the space to be filled.
        rows: `tokens_unknown`, where the contract has it, and any other columns.
    """
    has_count = UNKNOWN_TOKENS in contract.schema.names
    return rows.filter(pc.is_valid(rows[UNKNOWN_TOKENS])) if has_count else rows


@dataclass
class _Search:
    """What is found of the wanted contents, and what is wanted still."""

    store: Store
    contract: Contract
    wanted: pa.Array
    seen: set[str]
    """The keys of parts that were looked at, or need not be."""
    tables: list[pa.Table] = field(default_factory=list)
    sources: list[VectorSource] = field(default_factory=list)
    notices: Notices = field(default_factory=Notices)

    def look_at(self, space: SpaceName) -> None:
        """Take what a space has; one part at a time is in memory."""
        fingerprint = self.contract.fingerprint
        for release, condemned in _trusted_releases(self.store, space, fingerprint, self.notices):
            for part in release.parts:
                if not len(self.wanted):
                    return
                if part.key not in self.seen and part.key not in condemned:
                    self.seen.add(part.key)
                    self._look_up(space, part)

    def _look_up(self, space: SpaceName, part: Part) -> None:
        names = {UNKNOWN_TOKENS, "content_digest"}.intersection(self.contract.schema.names)
        try:
            rows = read_part(self.store, part, self.contract, sorted(names))
        except ContractBroken as error:
            self.notices.add(_skipped(f"in {space}", error))
            return
        digests = counted_rows(self.contract, rows)["content_digest"].combine_chunks()
        is_found = pc.is_in(self.wanted, value_set=digests)
        found = self.wanted.filter(is_found)
        if len(found):
            source = pa.array([len(self.sources)] * len(found), pa.int64())
            self.tables.append(pa.table({"digest": found, "source": source}))
            self.sources.append(VectorSource(str(space), part))
            self.notices.add(Notice(NoticeKind.VECTORS_FOUND, f"in {space}"), len(found))
            self.wanted = self.wanted.filter(pc.invert(is_found))


def _spaces(store: Store, first: SpaceName, notices: Notices) -> Iterator[SpaceName]:
    """Every version of every space: this one, those of its collection, then the others."""
    yield first
    collections = {first.collection}
    with _skipping_hidden(notices, "in other collections"):
        collections |= {name for name in store.folders("") if "." not in name}
    for collection in sorted(collections, key=lambda each: (each != first.collection, each)):
        names = list[SpaceName]()
        with _skipping_hidden(notices, f"in {collection}"):
            for space in store.folders(collection):
                versions = begun_versions(store, collection, space)
                names += [SpaceName(collection, space, version) for version in versions]
        yield from (name for name in names if name != first)


@contextmanager
def _skipping_hidden(notices: Notices, where: str) -> Iterator[None]:
    """Leaves what these credentials may not read alone, and says so.

    A failure that may pass is raised: the run would else encode what it need not.
    """
    try:
        yield
    except StoreFailed as error:
        if error.retry:
            raise
        notices.add(_skipped(where, error))


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
        notices.add(_skipped(f"in {name}", error))
        return
    manifests, damaged = load_readable_manifests(store, name)
    for broken in damaged.values():
        notices.add(_skipped(f"in {name}", broken))
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


def _skipped(where: str, error: CommonspaceError) -> Notice:
    return Notice(NoticeKind.SOURCE_SKIPPED, where, f"{error.item} {error.what}")
