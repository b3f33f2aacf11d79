"""Pull: read the source once, give every item a digest for each space, lose nothing.

Writes `items/NNNNN.parquet`, `passages/<space>/NNNNN.parquet` and `pull-rejects.parquet` into
the run's folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import space_key
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.errors import UserMistake, did_you_mean
from commonspace.pipeline.pull.items import items_schema
from commonspace.pipeline.pull.passages import PassageFiles, has_passages, passages_folder
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA, reject_row
from commonspace.pipeline.source.content import convert_metadata, parse_id, read_content
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import (
    EVERYTHING,
    Record,
    Scope,
    UnreadableRecord,
    sha256_hex,
)
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.progress import Progress

CHUNK_ROWS = 8_192
"""Items a file. Measured: 50,000 items at once raise the peak of `pull` by 84 MB, these by 24."""


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str).encode


@dataclass
class PullCounts:
    """What one pull found; counts only."""

    run: str
    records: int = 0
    items: int = 0
    rejected: int = 0
    seen: set[bytes] = field(default_factory=set, repr=False)
    fields: set[str] = field(default_factory=set, repr=False)


def pull(
    collection: Collection,
    source: Source,
    store: Store,
    folder: str,
    run: str,
    scope: Scope,
    progress: Progress,
) -> PullCounts:
    """Scan the scope of the source into the run's folder.

    Raises SourceNotFound or UserMistake where the source is not there or a configured field
    stands in no record; `pull-rejects.parquet`, written last, is then missing.
    """
    for part in ("items", "passages"):
        for stale in store.list(f"{folder}/{part}"):  # of an earlier try of the same run
            store.delete(stale)
    pulled = PullCounts(run)
    rejects: list[dict[str, Any]] = []
    records = _in_scope(source.scan(scope), collection, scope)
    passages = _passages(collection, store, folder)
    chunks = _chunks(_items(records, collection, pulled, rejects, progress, passages))
    schema = items_schema([space_key(s) for s in collection.space], collection.source.metadata)
    for number, chunk in enumerate(chunks):
        table = pa.Table.from_pylist(chunk, schema)
        store.put(f"{folder}/items/{number:05}.parquet", parquet_bytes(table))
    for files in passages.values():
        files.write()
    if scope == EVERYTHING:  # a few ids or one day may well lack an optional field
        _check_fields(collection, pulled)
    pulled.rejected = len(rejects)
    table = pa.Table.from_pylist(rejects, REJECTS_SCHEMA)
    store.put(f"{folder}/pull-rejects.parquet", parquet_bytes(table))
    return pulled


def _passages(collection: Collection, store: Store, folder: str) -> dict[str, PassageFiles]:
    """By space, where the passages of its texts go. Raises EncoderError."""
    return {
        space_key(space): PassageFiles(
            store,
            passages_folder(folder, space),
            catalog.passage_splitter(collection.encoder_reference(space)),
        )
        for space in collection.space
        if has_passages(space)
    }


def _in_scope(
    records: Iterable[Record | UnreadableRecord], collection: Collection, scope: Scope
) -> Iterator[Record | UnreadableRecord]:
    """The records of the scope; one without a readable id belongs to no list of ids."""
    for record in records:
        if scope.ids is None:
            yield record
        elif isinstance(record, Record):
            found = parse_id(record.values.get(_id_column(collection)))
            if isinstance(found, str) and found in scope.ids:
                yield record
        elif record.id in scope.ids:
            yield record


def _items(
    records: Iterable[Record | UnreadableRecord],
    collection: Collection,
    pulled: PullCounts,
    rejects: list[dict[str, Any]],
    progress: Progress,
    passages: Mapping[str, PassageFiles],
) -> Iterator[dict[str, Any]]:
    for record in records:
        pulled.records += 1
        progress.advance()
        if isinstance(record, UnreadableRecord):
            rejects.append(_rejected(record, record.failure, pulled.run, record.id))
            continue
        pulled.fields.update(record.values)
        item = _item(record, collection, pulled)
        if isinstance(item, Failure):
            found = parse_id(record.values.get(_id_column(collection)))
            known = found if isinstance(found, str) else None
            rejects.append(_rejected(record, item, pulled.run, known))
            continue
        for space in collection.space:
            content = read_content(record, space, collection.source.image_root)
            if isinstance(content, Failure):
                item[f"digest:{space_key(space)}"] = None
                rejects.append(_rejected(record, content, pulled.run, item["id"], space_key(space)))
            else:
                digest = None if content is None else sha256_hex(content)
                item[f"digest:{space_key(space)}"] = digest
                if isinstance(content, str) and space_key(space) in passages:
                    passages[space_key(space)].add(item, content)
        pulled.items += 1
        yield item


def _item(record: Record, collection: Collection, pulled: PullCounts) -> dict[str, Any] | Failure:
    """The item without its digests. The first record of an id wins; later ones are rejects."""
    found = parse_id(record.values.get(_id_column(collection)))
    if isinstance(found, Failure):
        return found
    if not _storable(record.locator, record.origin, record.partition or ""):
        return Failure(Reason.BAD_ID, "the file's name is not valid Unicode")
    short = hashlib.blake2b(found.encode(), digest_size=16).digest()
    if short in pulled.seen:
        return Failure(Reason.DUPLICATE_ID, "an earlier record has this id; that one is used")
    metadata = convert_metadata(record, collection.source.metadata)
    if isinstance(metadata, Failure):
        return metadata
    pulled.seen.add(short)
    beside = [record.partition, record.origin, metadata]
    return {
        "id": found,
        "partition": record.partition,
        "source_uri": record.origin,
        "locator": record.locator,
        "row_digest": sha256_hex(_CANONICAL(beside))[:32],
        **metadata,
    }


def _check_fields(collection: Collection, pulled: PullCounts) -> None:
    needed = {_id_column(collection): "the source's `id`"}
    for space in collection.space:
        names = [*space.fields, *([space.image] if space.image else [])]
        needed |= dict.fromkeys(names, f"space {space.name!r}")
    needed |= dict.fromkeys(collection.source.metadata, "`metadata`")
    for name, owner in needed.items():
        if pulled.fields and name not in pulled.fields:
            raise UserMistake(
                f"no record has the field {name!r} that {owner} needs"
                + did_you_mean(name, sorted(map(_printable, pulled.fields))),
                item=str(collection.path),
            )


def _rejected(
    record: Record | UnreadableRecord, failure: Failure, run: str, item: str | None, space: str | None = None
) -> dict[str, Any]:
    known = {"id": item, "partition": record.partition, "source_uri": record.origin, "space": space}
    shown = {name: None if text is None else _printable(text) for name, text in known.items()}
    failure = replace(failure, message=_printable(failure.message))
    return reject_row(failure, stage="pull", run=run, **shown)


def _printable(text: str) -> str:
    """The text with escapes for what UTF-8 cannot write (file names may hold any byte)."""
    return text.encode("utf-8", "backslashreplace").decode()


def _id_column(collection: Collection) -> str:
    return "id" if collection.source.kind == "folder" else collection.source.id


def _storable(*texts: str) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _chunks(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
