"""Parquet files, a batch of rows at a time; images as bytes or as paths."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import NO_ID_COLUMN, SourceNotFound, UserMistake, did_you_mean
from commonspace.pipeline.source.content import parse_id
from commonspace.pipeline.source.extents import (
    End,
    Extent,
    FileScan,
    UnreadableFile,
    scan_files,
)
from commonspace.pipeline.source.files import SourceFile, find_files, read_failure, require_readable
from commonspace.pipeline.source.records import EVERYTHING, Record, Scope, UnreadableRecord
from commonspace.pipeline.source.row_groups.batches import (
    UNREADABLE,
    EncryptedColumn,
    RowBatches,
    TooLarge,
    Values,
)
from commonspace.pipeline.source.row_groups.diagnosis import why_unreadable


class ParquetSource:
    """Reads only the columns that the collection file names."""

    def __init__(
        self, uri: str, columns: Sequence[str], max_record_bytes: int, *, id_column: str | None
    ) -> None:
        """`id_column`: the one that holds the id; None where ids are made."""
        self._uri, self._columns, self._limit = uri, list(columns), max_record_bytes
        self._id_column = id_column

    def scan(self, scope: Scope) -> FileScan:
        files, columns = find_files(self._uri, scope), list[list[str]]()
        yield from scan_files(files, partial(self._scan_file, columns))
        if scope == EVERYTHING and len(columns) == len(files):
            self._require_columns(set(chain.from_iterable(columns)))

    def _scan_file(self, columns: list[list[str]], source_file: SourceFile) -> FileScan:
        """The records of a file, whose columns are added to those of the files before."""
        rows = self._open(source_file)
        columns.append(rows.names)
        end = End.WHOLE if rows.row_bounds[-1] else End.EMPTY
        for first, batch in rows.from_group(0):
            if isinstance(batch, Failure):  # nobody knows which records these are
                end = End.CUT if batch.reason is Reason.TOO_LARGE else End.UNREADABLE
            yield from self._records(source_file, rows, first, batch)
        yield Extent(source_file.name, end)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        """Read each row group once where the locators are in the order of the file."""
        reader: _RowReader | None = None
        for locator in locators:
            source_file, row, _ = SourceFile.parse_locator(locator)
            try:
                if reader is None or reader.path != source_file.path:
                    reader = _RowReader(source_file.path, self._open(source_file))
                values = reader.row(row)
            except (OSError, UserMistake, UnreadableFile) as error:
                cause = error if isinstance(error, OSError) else OSError(str(error))
                yield UnreadableRecord(locator, source_file.name, read_failure(cause))
                reader = None
                continue
            yield _record(source_file, locator, values)

    def _records(
        self, source_file: SourceFile, rows: RowBatches, first: int, batch: pa.RecordBatch | Failure
    ) -> Iterator[Record | UnreadableRecord]:
        """The records of a batch, or the one that stands for a row group that is not read."""
        if isinstance(batch, Failure):
            locator = source_file.locator(first, first + 1, next(rows.places(first)))
            yield UnreadableRecord(locator, source_file.name, batch, source_file.partition)
            return
        places = rows.places(first)
        for row, values in enumerate(rows.values(batch), start=first):
            locator = source_file.locator(row, row + 1, next(places))
            yield _record(source_file, locator, values)

    def _open(self, source_file: SourceFile) -> RowBatches:
        """Raises UnreadableFile, or SourceNotFound where the file cannot be opened."""
        path = require_readable(source_file)
        try:
            rows = RowBatches(path, self._columns, self._limit, id_column=self._id_column)
        except EncryptedColumn as error:
            what = f"has an encrypted column, {error.args[0]!r}, which needs a key"
            raise UnreadableFile(what) from error
        except UNREADABLE as error:
            raise why_unreadable(source_file, error) from error
        for column in self._columns:
            if rows.names.count(column) > 1:
                raise UnreadableFile(
                    f"has more than one column {column!r}",
                    do="Rename all but the one that is meant.",
                )
        return rows

    def _require_columns(self, names: Collection[str]) -> None:
        """A file may lack a column, which is null there, but some file must have it."""
        for column in self._columns:
            if names and column not in names:
                raise UserMistake(
                    f"has no column {column!r}" + did_you_mean(column, names),
                    item=self._uri,
                    do=NO_ID_COLUMN if column == self._id_column else "",
                )


def _record(
    source_file: SourceFile, locator: str, values: Values | TooLarge
) -> Record | UnreadableRecord:
    if isinstance(values, TooLarge):
        item = parse_id(values.id)
        return UnreadableRecord(
            locator,
            source_file.name,
            values.failure,
            source_file.partition,
            item if isinstance(item, str) else None,
        )
    return Record(locator, source_file.name, values, source_file.partition, source_file.folder)


class _RowReader:
    """Reads rows of one file by number; keeps the batch that was read last.

    Rows further on cost one pass forward; an earlier row starts again at its row group.
    """

    def __init__(self, path: Path, rows: RowBatches) -> None:
        self.path, self._source = path, rows
        self._batches: Iterator[tuple[int, pa.RecordBatch | Failure]] = iter(())
        self._first, self._rows = 0, list[Values | TooLarge]()

    def row(self, row: int) -> Values | TooLarge:
        """The values of one row.

        Raises:
            SourceNotFound: the file has fewer rows than that.
        """
        bounds = self._source.row_bounds
        if row >= bounds[-1]:
            raise SourceNotFound("has fewer rows than before", item=str(self.path))
        group = self._source.group_of(row)
        start, next_row = bounds[group], self._first + len(self._rows)
        if row < self._first or start > next_row or not self._rows:
            self._batches = self._source.from_group(group)
            self._first, self._rows = start, []
        while row >= self._first + len(self._rows):
            self._first, batch = next(self._batches)
            if isinstance(batch, Failure):
                raise SourceNotFound(batch.message, item=str(self.path))
            self._rows = self._source.values(batch)
        return self._rows[row - self._first]
