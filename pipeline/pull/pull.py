"""Pull: read the source once, give every item a digest for each space, lose no record.

Writes `items/NNNNN.parquet`, `passages/<space>/NNNNN.parquet`, `extents.parquet` and
`pull-rejects.parquet` into the run's folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from commonspace.encoders import catalog
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import space_key
from commonspace.pipeline.contract.layout import items_folder, passages_folder, pull_rejects_key
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.errors import PartitionNotFound, UserMistake
from commonspace.pipeline.pull.extents import write_extents
from commonspace.pipeline.pull.item_builder import ItemBuilder, PullCounts
from commonspace.pipeline.pull.items import items_schema
from commonspace.pipeline.pull.passages import PassageWriter, has_passages
from commonspace.pipeline.pull.versions import remove_replaced
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA
from commonspace.pipeline.source.extents import Extent
from commonspace.pipeline.source.files import find_files
from commonspace.pipeline.source.notices import Notice, NoticeCount, NoticeKind
from commonspace.pipeline.source.protocol import Scanned, Source
from commonspace.pipeline.source.record_ids import record_id
from commonspace.pipeline.source.records import Record, Scope
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.progress import Progress

CHUNK_ROWS = 8_192
"""Items a file. Measured: 50,000 items at once raise the peak of `pull` by 84 MB, these by 24."""
_NOT_OFFERED = "ids of the run that no record has; what is published of them stays"


@dataclass(frozen=True)
class PullResult:
    """What `pull` counted, and what it met besides."""

    counts: PullCounts
    notices: tuple[NoticeCount, ...]


def pull(
    collection: Collection,
    source: Source,
    *,
    store: Store,
    folder: str,
    run: str,
    scope: Scope,
    progress: Progress,
    delete_missing: bool = False,
) -> PullResult:
    """Read the scope of the source into the run's folder.

    `pull-rejects.parquet` is written last: where it exists, the pull is complete.

    Args:
        folder: the key of the run's folder in the store; files of an earlier try are replaced.
        run: the run's id, which its rejects carry.
        delete_missing: whether a partition without files is one without records.

    Raises:
        SourceNotFound: the source is missing.
        UserMistake: a field that the collection file names is in no record, or a partition's name
            is not of the declared period.
        EncoderError: the encoder of a space with passages is not usable.
    """
    for stale_folder in (items_folder(folder), passages_folder(folder)):
        for key in store.list(stale_folder):
            store.delete(key)
    _check_partitions(collection, scope)
    writers = _passage_writers(collection, store, folder)
    builder = ItemBuilder(collection, run, writers)
    scanned = source.scan(scope)
    scanned = _in_scope(_if_there(scanned) if delete_missing else scanned, collection, scope)
    schema = items_schema(
        [space_key(s) for s in collection.space], collection.source.published_types
    )
    for number, chunk in enumerate(_chunks(builder.items(scanned, progress))):
        table = pa.Table.from_pylist(chunk, schema)
        store.put(f"{items_folder(folder)}/{number:05}.parquet", parquet_bytes(table))
    for writer in writers.values():
        writer.flush()
    remove_replaced(store, folder, builder.winners)
    builder.remove_replaced_rejects()
    builder.check_fields(scope)
    write_extents(store, folder, builder.extents)
    rejects = pa.Table.from_pylist(builder.rejects, REJECTS_SCHEMA)
    store.put(pull_rejects_key(folder), parquet_bytes(rejects))
    return PullResult(builder.counts, builder.notices.counts())


def _passage_writers(collection: Collection, store: Store, folder: str) -> dict[str, PassageWriter]:
    """One by `space_key` for each space with passages. Raises EncoderError."""
    return {
        space_key(space): PassageWriter(
            store,
            passages_folder(folder, space_key(space)),
            catalog.passage_splitter(collection.encoder_reference(space)),
        )
        for space in collection.space
        if has_passages(space)
    }


def _check_partitions(collection: Collection, scope: Scope) -> None:
    """Refuse files of partitions that no run of a partition would accept.

    Raises:
        UserMistake: the name of one is not of the declared period.
    """
    if collection.collection.partitions is None or scope.partition is not None:
        return
    for file in find_files(collection.source_uri, scope):
        if collection.source.kind == "folder" and not file.path.is_dir():
            continue  # it is left out
        try:
            collection.check_partition(file.partition or "")
        except UserMistake as error:
            raise UserMistake(
                error.what,
                item=str(file.path),
                do=f"{error.do} Move the file, or narrow the `uri`.",
            ) from error


def _if_there(scanned: Iterator[Scanned]) -> Iterator[Scanned]:
    """What is scanned: nothing of a partition without files."""
    with suppress(PartitionNotFound):
        yield from scanned


def _in_scope(
    scanned: Iterable[Scanned], collection: Collection, scope: Scope
) -> Iterator[Scanned]:
    """What is scanned, but for records out of the scope; one without an id is in no list of ids.

    Last, a notice for each id of the scope that no record has.
    """
    if scope.ids is None:
        yield from scanned
        return
    missing = set(scope.ids)
    for found in scanned:
        if isinstance(found, Extent | Notice):
            yield found
            continue
        item_id = record_id(found, collection) if isinstance(found, Record) else found.id
        if item_id in scope.ids:
            missing.discard(item_id)
            yield found
    for item_id in sorted(missing):
        yield Notice(NoticeKind.NOT_OFFERED, _NOT_OFFERED, item_id)


def _chunks(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
