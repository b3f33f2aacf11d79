"""From what a collection file says of its source to the source that reads it."""

from __future__ import annotations

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.source.csv import CsvSource
from commonspace.pipeline.source.folder import FolderSource
from commonspace.pipeline.source.jsonl import JsonlSource
from commonspace.pipeline.source.parquet import ParquetSource
from commonspace.pipeline.source.protocol import Source


def open_source(collection: Collection) -> Source:
    """The source that a collection file describes."""
    declared, uri = collection.source, collection.source_uri
    match declared.kind:
        case "folder":
            return FolderSource(
                uri, declared.text_suffixes, declared.image_suffixes, pair=declared.id != "path"
            )
        case "csv":
            return CsvSource(uri, declared.encoding, declared.delimiter, declared.columns)
        case "jsonl":
            return JsonlSource(uri, declared.encoding)
        case "parquet":
            return ParquetSource(uri, _columns(collection))


def _columns(collection: Collection) -> list[str]:
    """The columns a table has to be read for: all that the collection file names."""
    named = [collection.source.id, *collection.source.metadata]
    for space in collection.space:
        named += [*space.fields, *([space.image] if space.image else [])]
    return list(dict.fromkeys(named))
