"""Parquet files, a batch of rows at a time; images as bytes or as paths."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound, UserMistake, did_you_mean
from commonspace.pipeline.source.extents import AtEnd, End, Extent, ignore
from commonspace.pipeline.source.files import SourceFile, find_files, read_failure, require_readable
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord

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
        for source_file in find_files(self._uri, scope):
            end = _end(require_readable(source_file))
            if end is End.CUT:
                yield self._record(source_file, source_file.locator(0, 0), _CUT)
            elif end is End.WHOLE:
                with self._open(source_file) as file, _raising_source_not_found(source_file):
                    end = End.WHOLE if file.metadata.num_rows else End.EMPTY
                    bounds = _row_bounds(file)
                    for first, batch in _batches(file, 0, 0, self._columns):
                        for row, values in enumerate(_batch_values(batch), start=first):
                            locator = source_file.locator(row, row + 1, _place(row, bounds))
                            yield self._record(source_file, locator, values)
            at_end(Extent(source_file.name, end))

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
            yield self._record(source_file, locator, values)

    def _open(self, source_file: SourceFile) -> pq.ParquetFile:
        path = require_readable(source_file)
        with _raising_source_not_found(source_file):
            file = pq.ParquetFile(
                path,
                pre_buffer=False,
                buffer_size=PAGE_BUFFER_BYTES,
                page_checksum_verification=True,
            )
        for column in self._columns:
            if column not in file.schema_arrow.names:
                raise UserMistake(
                    f"has no column {column!r}" + did_you_mean(column, file.schema_arrow.names),
                    item=str(source_file.path),
                )
        return file

    def _record(
        self, source_file: SourceFile, locator: str, values: Values | Failure
    ) -> Record | UnreadableRecord:
        if isinstance(values, Failure):
            return UnreadableRecord(locator, source_file.name, values, source_file.partition)
        return Record(locator, source_file.name, values, source_file.partition, source_file.folder)


class _RowReader:
    """Reads rows of one file by number; keeps the batch that was read last.

    Rows further on cost one pass forward; an earlier row starts again at its row group.
    """

    def __init__(self, path: Path | None = None, file: pq.ParquetFile | None = None) -> None:
        self.path, self._file = path, file
        self._row_bounds = _row_bounds(file) if file else [0]
        self._batches: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._first, self._rows = 0, list[Values | Failure]()

    def row(self, row: int, columns: Sequence[str]) -> Values | Failure:
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
    """Batches from a row group to the end of the file, each with the number of its first row."""
    groups = range(group, file.num_row_groups)
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
        yield first, batch
        first += batch.num_rows


def _batch_values(batch: pa.RecordBatch) -> list[Values | Failure]:
    """A batch as Python values row by row; a row that Python cannot hold becomes a failure."""
    batch = batch.cast(pa.schema([_in_microseconds(field) for field in batch.schema]), safe=False)
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):  # bytes that are not UTF-8, the year 20000
        return [_row_values(batch.slice(row, 1)) for row in range(batch.num_rows)]


def _in_microseconds(field: pa.Field) -> pa.Field:
    """Python's times have microseconds; for nanoseconds Arrow would need pandas."""
    if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
        return field.with_type(pa.timestamp("us", field.type.tz))
    return field


def _row_values(row: pa.RecordBatch) -> Values | Failure:
    try:
        return dict(row.to_pylist()[0])
    except (ValueError, OverflowError) as error:
        return Failure(Reason.BAD_RECORD, f"holds a value that cannot be read: {error}")


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
