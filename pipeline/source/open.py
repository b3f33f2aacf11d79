"""Open the source that a collection file describes."""

from __future__ import annotations

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.source.csv import CsvSource
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.folders.source import FolderSource
from commonspace.pipeline.source.jsonl import JsonlSource
from commonspace.pipeline.source.parquet import ParquetSource
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.text.csv_layout import CsvLayout
from commonspace.pipeline.source.text.text_files import TextFiles


def open_source(collection: Collection) -> Source:
    """The source that a collection file describes."""
    section, uri = collection.source, collection.source_uri
    match section.kind:
        case "folder":
            return FolderSource(
                uri,
                section.text_suffixes,
                section.image_suffixes,
                pair=section.id != "path",
                access=FileAccess.of(collection),
            )
        case "csv":
            return CsvSource(uri, _text_files(collection), _csv_layout(collection))
        case "jsonl":
            return JsonlSource(uri, _text_files(collection), _named_columns(collection))
        case "parquet":
            return ParquetSource(
                uri,
                _named_columns(collection),
                collection.limits.max_record_bytes,
                id_column=section.id or None,
            )


def _text_files(collection: Collection) -> TextFiles:
    return TextFiles(collection.source.encoding, collection.limits.max_record_bytes)


def _csv_layout(collection: Collection) -> CsvLayout:
    section = collection.source
    return CsvLayout(
        columns=section.columns,
        delimiter=section.delimiter,
        escape=section.escape,
        comment=section.comment,
        needed=_named_columns(collection),
    )


def _named_columns(collection: Collection) -> list[str]:
    """Every column that the collection file needs; no other is read from a Parquet file."""
    section = collection.source
    columns = [*filter(None, [section.id]), *section.metadata]
    if section.generate_id == "content":
        columns += collection.content_columns
    for space in collection.space:
        columns += [*space.fields, *([space.image] if space.image else [])]
    return list(dict.fromkeys(columns))
