"""What a file is: a table of some kind, a text or an image, by its name or by what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Literal

from commonspace.pipeline.config.sections import SourceSection
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.files import SourceFile, require_readable
from commonspace.pipeline.source.text.stream import TextStream

Kind = Literal["folder", "csv", "jsonl", "parquet"]
_KINDS: Mapping[str, Kind] = {
    ".csv": "csv", ".tsv": "csv", ".psv": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
TEXTS = frozenset(SourceSection.model_fields["text_suffixes"].default)
IMAGES = frozenset(SourceSection.model_fields["image_suffixes"].default)


def table_kind(path: Path) -> Kind:
    """The kind of a table, by its content.

    Raises:
        SourceNotFound: it is no table.
    """
    if not path.is_file():
        raise SourceNotFound("is no file", item=str(path))
    with require_readable(SourceFile(path, path.name)).open("rb") as file:
        if file.read(4) == b"PAR1":
            return "parquet"
    if path.suffix.lower() in IMAGES or path.suffix.lower() in TEXTS:
        raise SourceNotFound(
            "is one image or text, not a table", item=str(path), do="Name the folder that it is in."
        )
    if (kind := kind_by_name(path.name)) == "parquet":
        raise SourceNotFound("is no Parquet file", item=str(path))
    stream = TextStream(path, "utf-8")
    try:
        head = stream.file.read(2**12).decode(stream.encoding, errors="replace").lstrip()
    finally:
        stream.close()
    if head.startswith("<"):
        do = "Make a CSV or JSON Lines of it."
        raise SourceNotFound("is XML or HTML, which no source reads", item=str(path), do=do)
    return "jsonl" if kind == "jsonl" or head[:1] in {"{", "["} else "csv"


def kind_by_name(name: str) -> Kind | None:
    """The kind of table that a file is by its suffix; None of any other file."""
    suffixes = file_suffixes(name)
    return _KINDS.get(suffixes[0].lower()) if suffixes else None


def file_suffixes(name: str) -> list[str]:
    """`[".csv", ".gz"]`: the last suffix, with the one before it where it says a compression."""
    suffixes = PurePath(name).suffixes
    return suffixes[-2:] if suffixes and suffixes[-1].lower() in _COMPRESSED else suffixes[-1:]
