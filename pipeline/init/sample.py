"""The first records of a table, read by the source that the collection file will name."""

from __future__ import annotations

import glob
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow.parquet as pq

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.init.csv_settings import CsvSettings, guess_encoding, guess_settings
from commonspace.pipeline.init.file_kinds import Kind
from commonspace.pipeline.init.location import Location, size_of
from commonspace.pipeline.source.csv import CsvSource
from commonspace.pipeline.source.jsonl import JsonlSource
from commonspace.pipeline.source.parquet import ParquetSource
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from commonspace.pipeline.source.text.csv_layout import CsvLayout
from commonspace.pipeline.source.text.stream import TextStream
from commonspace.pipeline.source.text.text_files import TextFiles

MOST_FILES = 8
MOST_RECORDS = 1_000
MOST_BYTES = 2**25
"""Of texts and bytes in all records of a sample."""
_HEAD_BYTES = 2**20
_RECORD_BYTES = 2**26


@dataclass
class Sample:
    """Some records of a table.

    Attributes:
        records: from its beginning; of several files, from the beginning of each.
        unreadable: the failures of those that could not be read.
        columns: the names of usable columns, in the order in which they were met.
        settings: how the files are written; of other kinds than CSV, only the encoding says so.
        is_whole: whether there are no other records.
        seen: how much was looked at.
    """

    records: list[Record] = field(default_factory=list)
    unreadable: list[Failure] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    settings: CsvSettings = field(default_factory=CsvSettings)
    is_whole: bool = True
    doubts: tuple[str, ...] = ()

    @property
    def seen(self) -> str:
        """How much was looked at."""
        count = len(self.records) + len(self.unreadable)
        return f"all {count:,} records" if self.is_whole else f"the first {count:,} records only"


def read_sample(location: Location) -> Sample:
    """Read the beginning of a table's files.

    Raises:
        SourceNotFound: no file has a record, or none can be read.
        UserMistake: the files do not belong together.
    """
    files = [path for path in location.files if size_of(path)]
    chosen = [files[n * len(files) // MOST_FILES] for n in range(MOST_FILES)] if files else []
    chosen = list(dict.fromkeys(chosen)) if len(files) > MOST_FILES else files
    sample = Sample(is_whole=len(chosen) == len(files))
    columns: dict[Path, list[str]] = {}
    repeated, doubts = set[str](), list[str]()
    for number, path in enumerate(chosen):
        settings = _text_settings(path, location.kind)
        repeated |= settings.repeated
        if not number:
            sample.settings = settings
        else:
            doubts += _differences(chosen[0], sample.settings, path, settings)
        source = _source(location.kind, path, sample.settings)
        columns[path] = _read_file(sample, source, len(chosen))
    if not sample.records:
        reasons = "; ".join(sorted({failure.message for failure in sample.unreadable}))
        raise SourceNotFound("has no record that can be read", item=location.uri, do=reasons[:500])
    sample.columns = tuple(name for name in _merged(columns) if name not in repeated)
    sample.doubts = (*sample.settings.doubts, *doubts)
    if repeated:
        sample.doubts += (f"columns that share a name are left out: {', '.join(sorted(repeated))}",)
    return sample


def _text_settings(path: Path, kind: Kind) -> CsvSettings:
    if kind == "parquet":
        return CsvSettings()
    stream = TextStream(path, "utf-8")
    try:
        data = stream.file.read(_HEAD_BYTES)
    finally:
        stream.close()
    used = stream.encoding
    encoding, doubt = guess_encoding(data) if used == "utf-8" else ("utf-8", "")
    settings = CsvSettings(encoding=encoding)
    if kind == "csv":
        text = data.decode(used if used != "utf-8" else encoding, errors="replace")
        settings = guess_settings(_whole_lines(text, len(data)), encoding)
    return replace(settings, doubts=(*filter(None, [doubt]), *settings.doubts))


def _differences(first: Path, decides: CsvSettings, path: Path, settings: CsvSettings) -> list[str]:
    """A doubt about a file that is written otherwise than the first one.

    Raises:
        UserMistake: one collection file cannot describe both.
    """
    if (decides.delimiter, decides.columns) != (settings.delimiter, settings.columns):
        raise UserMistake(
            f"differs from {first} in its delimiter or its header line",
            item=str(path),
            do="Name one of them, or a glob for those that belong together.",
        )
    doubt = f"{path.name} is not written as {first.name} is, which decides here"
    return [doubt] if settings != decides else []


def _whole_lines(text: str, size: int) -> str:
    """The text without a last line that goes on behind the sample."""
    return text if size < _HEAD_BYTES else text[: text.rfind("\n") + 1]


def _source(kind: Kind, path: Path, settings: CsvSettings) -> Source:
    uri = glob.escape(str(path))
    if kind == "parquet":
        return ParquetSource(uri, _parquet_names(path), _RECORD_BYTES, id_column=None)
    files = TextFiles(settings.encoding, _RECORD_BYTES)
    if kind == "jsonl":
        return JsonlSource(uri, files, ())
    layout = CsvLayout(
        columns=settings.columns,
        delimiter=settings.delimiter,
        escape=settings.escape,
        comment=settings.comment,
    )
    return CsvSource(uri, files, layout)


def _parquet_names(path: Path) -> list[str]:
    """The names that are given to one column.

    Raises:
        SourceNotFound: it is no Parquet file.
    """
    try:
        names = Counter(pq.read_schema(path).names)
    except (OSError, ValueError) as error:
        raise SourceNotFound(f"is not a readable Parquet file: {error}", item=str(path)) from error
    return [name for name, count in names.items() if count == 1]


def _read_file(sample: Sample, source: Source, files: int) -> list[str]:
    """Add the first records of a file; the names of its columns, in order."""
    names: dict[str, None] = {}
    size, count = 0, 0
    for found in source.scan(EVERYTHING):
        if isinstance(found, UnreadableRecord):
            sample.unreadable.append(found.failure)
            count += 1
        elif isinstance(found, Record):
            sample.records.append(found)
            names |= dict.fromkeys(found.values)
            size += sum(len(v) for v in found.values.values() if isinstance(v, str | bytes))
            count += 1
        if count >= MOST_RECORDS // files or size >= MOST_BYTES // files:
            sample.is_whole = False
            break
    return list(names)


def _merged(columns: dict[Path, list[str]]) -> tuple[str, ...]:
    """The columns of all files.

    Raises:
        UserMistake: some have hardly one in common.
    """
    (first, names), *others = columns.items()
    for path, other in others:
        common = set(names) & set(other)
        if other and len(common) * 2 < min(len(names), len(other)):
            raise UserMistake(
                f"{first.name} and {path.name} are different tables: "
                f"{', '.join(map(repr, names[:5]))}; {', '.join(map(repr, other[:5]))}",
                item=str(path.parent),
                do="Name one of them, or a glob for those that belong together.",
            )
    return tuple(dict.fromkeys(name for found in columns.values() for name in found))
