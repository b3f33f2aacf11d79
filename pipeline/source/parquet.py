"""Parquet files, a batch of rows at a time; images as bytes or as paths."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound, UserMistake, did_you_mean
from commonspace.pipeline.source.conversion.arrow import column_values
from commonspace.pipeline.source.extents import AtEnd, End, Extent, ignore
from commonspace.pipeline.source.files import SourceFile, find_files, read_failure, require_readable
from commonspace.pipeline.source.records import EVERYTHING, Record, Scope, UnreadableRecord

BATCH_ROWS = 256
PAGE_BUFFER_BYTES = 2**16
"""Pages are read through a buffer of this size, so that memory never holds a whole row group."""

Values = dict[str, Any]

_MAGIC = b"PAR1"
"""What a Parquet file begins and ends with."""
_CUT = Failure(Reason.SOURCE_UNREADABLE, "the file ends before its footer", retryable=True)


class ParquetSource:
    """Reads only the columns that the collection file names."""

    def __init__(self, uri: str, columns: Sequence[str]) -> None:
        self._uri, self._columns = uri, list(columns)

    def scan(self, scope: Scope, at_end: AtEnd = ignore) -> Iterator[Record | UnreadableRecord]:
        names, all_read = set[str](), True
        for source_file in find_files(self._uri, scope):
            end = _end(require_readable(source_file))
            if end is End.CUT:
                place = source_file.locator(0, 0)
                yield UnreadableRecord(place, source_file.name, _CUT, source_file.partition)
            elif end is End.WHOLE:
                with self._open(source_file) as file, _raising_source_not_found(source_file):
                    end = End.WHOLE if file.metadata.num_rows else End.EMPTY
                    names.update(file.schema_arrow.names)
                    bounds = _row_bounds(file)
                    for first, batch in _batches(file, 0, 0, self._columns):
                        for row, values in enumerate(_batch_values(batch), start=first):
                            locator = source_file.locator(row, row + 1, _place(row, bounds))
                            yield _record(source_file, locator, values)
            all_read = all_read and end is not End.CUT
            at_end(Extent(source_file.name, end))
        if scope == EVERYTHING and all_read:
            self._require_columns(names)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        """Read each row group once where the locators are in the order of the file."""
        reader = _RowReader()
        for locator in locators:
            source_file, row, _ = SourceFile.parse_locator(locator)
            try:
                if reader.path != source_file.path:
                    reader = _RowReader(source_file.path, self._open(source_file))
                with _raising_source_not_found(source_file):
                    values = reader.row(row, self._columns)
            except (OSError, UserMistake) as error:
                cause = error if isinstance(error, OSError) else OSError(str(error))
                yield UnreadableRecord(locator, source_file.name, read_failure(cause))
                reader = _RowReader()
                continue
            yield _record(source_file, locator, values)

    def _open(self, source_file: SourceFile) -> pq.ParquetFile:
        path = require_readable(source_file)
        with _raising_source_not_found(source_file):
            file = pq.ParquetFile(
                path,
                pre_buffer=False,
                buffer_size=PAGE_BUFFER_BYTES,
                page_checksum_verification=True,
                coerce_int96_timestamp_unit="us",  # in nanoseconds, the year 9999 becomes 1816
            )
        for column in self._columns:
            if file.schema_arrow.names.count(column) > 1:
                raise UserMistake(
                    f"has more than one column {column!r}",
                    item=str(source_file.path),
                    do="Rename all but the one that is meant.",
                )
        return file

    def _require_columns(self, names: Collection[str]) -> None:
        """A file may lack a column, which is null there, but some file must have it."""
        for column in self._columns:
            if names and column not in names:
                raise UserMistake(
                    f"has no column {column!r}" + did_you_mean(column, names), item=self._uri
                )


def _record(source_file: SourceFile, locator: str, values: Values) -> Record:
    return Record(locator, source_file.name, values, source_file.partition, source_file.folder)


class _RowReader:
    """Reads rows of one file by number; keeps the batch that was read last.

    Rows further on cost one pass forward; an earlier row starts again at its row group.
    """

    def __init__(self, path: Path | None = None, file: pq.ParquetFile | None = None) -> None:
        self.path, self._file = path, file
        self._row_bounds = _row_bounds(file) if file else [0]
        self._batches: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._first, self._rows = 0, list[Values]()

    def row(self, row: int, columns: Sequence[str]) -> Values:
        """The values of one row.

        Raises:
            SourceNotFound: the file has fewer rows than that.
        """
        if row >= self._row_bounds[-1]:
            raise SourceNotFound("has fewer rows than before", item=str(self.path))
        group = bisect_right(self._row_bounds, row) - 1
        start, next_row = self._row_bounds[group], self._first + len(self._rows)
        if row < self._first or start > next_row or not self._rows:
            self._batches = _batches(self._file, group, start, columns)
            self._first, self._rows = start, []
        while row >= self._first + len(self._rows):
            self._first, batch = next(self._batches)
            self._rows = _batch_values(batch)
        return self._rows[row - self._first]


def _end(path: Path) -> End:
    """Whether the file can be read: rows are found by its footer, which is written last."""
    with path.open("rb") as file:
        head, size = file.read(len(_MAGIC)), file.seek(0, os.SEEK_END)
        file.seek(max(size - len(_MAGIC), 0))
        has_footer = size > len(_MAGIC) and file.read() == _MAGIC
    if not size:
        return End.EMPTY
    return End.CUT if _MAGIC.startswith(head) and not has_footer else End.WHOLE


@contextmanager
def _raising_source_not_found(source_file: SourceFile) -> Iterator[None]:
    """Turn Arrow's errors about a broken file into SourceNotFound."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SourceNotFound(
            f"is not a readable Parquet file: {error}", item=str(source_file.path)
        ) from error


def _batches(
    file: pq.ParquetFile, group: int, first: int, columns: Sequence[str]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches from a row group to the end of the file, each with the number of its first row.

    They have those of the columns that the file has.
    """
    groups = range(group, file.num_row_groups)
    present = [column for column in columns if column in file.schema_arrow.names]
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=present):
        yield first, batch
        first += batch.num_rows


def _batch_values(batch: pa.RecordBatch) -> list[Values]:
    """A batch as Python values, row by row."""
    if not batch.num_columns:
        return [{} for _ in range(batch.num_rows)]
    names = batch.schema.names
    rows = zip(*map(column_values, batch.columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _place(row: int, bounds: Sequence[int]) -> str:
    """Where a row of the file is, for people; `bounds`: what `_row_bounds` gives."""
    group = bisect_right(bounds, row) - 1
    return f"row group {group}, row {row - bounds[group]}, record {row + 1}"


def _row_bounds(file: pq.ParquetFile) -> list[int]:
    """The number of the first row of each row group, and of the end of the last."""
    bounds = [0]
    for group in range(file.num_row_groups):
        bounds.append(bounds[-1] + file.metadata.row_group(group).num_rows)
    return bounds
