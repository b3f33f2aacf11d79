"""Parquet files, a row group at a time; images as bytes or as paths."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound, UserMistake, did_you_mean
from commonspace.pipeline.source.files import SourceFile, find_files, require_readable, read_failure
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord

BATCH_ROWS = 256
BUFFER_BYTES = 2**16
"""Pages are read through a buffer, so that a row group is never held whole."""

Values = dict[str, Any]


class ParquetSource:
    """Only the columns that the collection file names are read."""

    def __init__(self, uri: str, columns: Sequence[str]) -> None:
        self._uri, self._columns = uri, list(columns)

    def scan(self, scope: Scope) -> Iterator[Record | UnreadableRecord]:
        for found in find_files(self._uri, scope):
            with self._open(found) as file, _told(found):
                for first, batch in _batches(file, 0, 0, self._columns):
                    for at, values in enumerate(_values(batch)):
                        yield self._row(found, first + at, values)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        """One pass over each row group where the locators stand in file order."""
        window = _Window()
        for locator in locators:
            found, row, _ = SourceFile.at(locator)
            try:
                if window.path != found.path:
                    window = _Window(found.path, self._open(found))
                with _told(found):
                    values = window.row(row, self._columns)
            except (OSError, UserMistake) as error:
                reason = error if isinstance(error, OSError) else OSError(str(error))
                yield UnreadableRecord(locator, found.name, read_failure(reason))
                window = _Window()
                continue
            yield self._row(found, row, values)

    def _open(self, found: SourceFile) -> pq.ParquetFile:
        path = require_readable(found)
        with _told(found):
            file = pq.ParquetFile(
                path,
                pre_buffer=False,
                buffer_size=BUFFER_BYTES,
                page_checksum_verification=True,
            )
        for column in self._columns:
            if column not in file.schema_arrow.names:
                raise UserMistake(
                    f"has no column {column!r}" + did_you_mean(column, file.schema_arrow.names),
                    item=str(found.path),
                )
        return file

    def _row(self, found: SourceFile, row: int, values: Values | Failure) -> Record | UnreadableRecord:
        locator = found.locator(row, row + 1)
        if isinstance(values, Failure):
            return UnreadableRecord(locator, found.name, values, found.partition)
        return Record(locator, found.name, values, found.partition, found.folder)


class _Window:
    """The batch that was read last; moves forward in its file, or starts again to go back."""

    def __init__(self, path: Path | None = None, file: pq.ParquetFile | None = None) -> None:
        self.path, self._file = path, file
        self._bounds = _bounds(file) if file else [0]
        self._batches: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._first, self._rows = 0, list[Values | Failure]()

    def row(self, row: int, columns: Sequence[str]) -> Values | Failure:
        """The values of one row. Raises SourceNotFound where the file has become shorter."""
        if row >= self._bounds[-1]:
            raise SourceNotFound("has fewer rows than before", item=str(self.path))
        group = bisect_right(self._bounds, row) - 1
        start, next_row = self._bounds[group], self._first + len(self._rows)
        if row < self._first or start > next_row or not self._rows:
            self._batches = _batches(self._file, group, start, columns)
            self._first, self._rows = start, []
        while row >= self._first + len(self._rows):
            self._first, batch = next(self._batches)
            self._rows = _values(batch)
        return self._rows[row - self._first]


@contextmanager
def _told(found: SourceFile) -> Iterator[None]:
    """What Arrow says of a broken file, as SourceNotFound."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SourceNotFound(
            f"is not a require_readable Parquet file: {error}", item=str(found.path)
        ) from error


def _batches(
    file: pq.ParquetFile, group: int, first: int, columns: Sequence[str]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches from a row group to the file's end, each with its first row's number."""
    groups = range(group, file.num_row_groups)
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
        yield first, batch
        first += batch.num_rows


def _values(batch: pa.RecordBatch) -> list[Values | Failure]:
    """Python values row by row; a row that Python cannot hold is a failure of its own."""
    batch = batch.cast(pa.schema([_in_microseconds(field) for field in batch.schema]), safe=False)
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):  # bytes that are no UTF-8, the year 20000
        return [_one(batch.slice(row, 1)) for row in range(batch.num_rows)]


def _in_microseconds(field: pa.Field) -> pa.Field:
    """Python's own times end there; for nanoseconds Arrow would ask for pandas."""
    if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
        return field.with_type(pa.timestamp("us", field.type.tz))
    return field


def _one(row: pa.RecordBatch) -> Values | Failure:
    try:
        return dict(row.to_pylist()[0])
    except (ValueError, OverflowError) as error:
        return Failure(Reason.BAD_RECORD, f"holds a value that cannot be read: {error}")


def _bounds(file: pq.ParquetFile) -> list[int]:
    """The first row of each row group, and the end of the last."""
    ends = [0]
    for group in range(file.num_row_groups):
        ends.append(ends[-1] + file.metadata.row_group(group).num_rows)
    return ends
