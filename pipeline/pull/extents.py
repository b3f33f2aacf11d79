"""How far a run has read each file of its source, kept for the plan of each space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.layout import extents_key
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import published_details
from commonspace.pipeline.source.conversion.text import printable
from commonspace.pipeline.source.extents import End, Extent
from commonspace.pipeline.source.notices import NoticeKind
from commonspace.pipeline.source.record_ids import record_id
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Work

EXTENTS_SCHEMA = pa.schema(
    [
        pa.field("origin", pa.string(), nullable=False),
        pa.field("end", pa.string(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("place", pa.string()),
    ]
)


@dataclass(frozen=True)
class LastRecord:
    """The last record of a file, which may have lost its end; `place` as in its reject."""

    id: str
    place: str | None


@dataclass(frozen=True)
class Extents:
    """How each file ended, or each folder that was listed, by its `origin`.

    Attributes:
        ends: Of every one that was found.
        doubtful: The last record of each file where that may have lost its end.
    """

    ends: Mapping[str, End] = field(default_factory=dict)
    doubtful: Mapping[str, LastRecord] = field(default_factory=dict)


def extent_row(extent: Extent, collection: Collection) -> dict[str, str | None]:
    """A row of EXTENTS_SCHEMA."""
    item_id = record_id(extent.doubtful, collection) if extent.doubtful else None
    return {
        "origin": printable(extent.origin),
        "end": str(extent.end),
        "id": item_id if isinstance(item_id, str) else None,
        "place": extent.doubtful.place if extent.doubtful else None,
    }


def write_extents(store: Store, run_folder: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Keep rows of EXTENTS_SCHEMA for the stages that follow."""
    table = pa.Table.from_pylist(list(rows), EXTENTS_SCHEMA)
    store.put(extents_key(run_folder), parquet_bytes(table))


def read_extents(store: Store, run_folder: str) -> Extents:
    """What `write_extents` has kept; nothing of a run that an earlier commit has pulled."""
    key = extents_key(run_folder)
    data = store.read(key)
    rows = read_table(data, key).to_pylist() if data is not None else []
    return Extents(
        ends={row["origin"]: End(row["end"]) for row in rows},
        doubtful={
            row["origin"]: LastRecord(row["id"], row["place"])
            for row in rows
            if row["id"] is not None
        },
    )


def with_files(work: Work, base: Release | None, rows: pa.Table) -> pa.Table:
    """Published rows with the column `source_uri`: the file whose Extent speaks of each of them.

    Of an item of a folder, which lies in files of its own, that is their folder.
    """
    if _is_folder(work.run.collection):
        folders = [str(PurePosixPath(item).parent) for item in rows["id"].to_pylist()]
        return rows.append_column("source_uri", pa.array(folders, pa.string()))
    ids = rows["id"].combine_chunks()
    origins = published_details(work.run.store, base, work.contract, ["source_uri"], ids)
    found = pc.index_in(ids, value_set=origins["id"].combine_chunks())
    return rows.append_column("source_uri", origins["source_uri"].take(found))


def kind_of_gone(collection: Collection) -> NoticeKind:
    """What a notice is of where no Extent speaks of published rows."""
    return NoticeKind.FOLDER_GONE if _is_folder(collection) else NoticeKind.FILE_GONE


def _is_folder(collection: Collection) -> bool:
    return collection.source.kind == "folder"
