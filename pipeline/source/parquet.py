"""Parquet files, a row group at a time; images as bytes or as paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import near
from pipeline.errors import SourceNotFound, UserMistake
from pipeline.records import Row, Scope, Unreadable
from pipeline.source.files import Found, find, readable, unreadable

BATCH_ROWS = 256


class ParquetSource:
    """Only the columns that the collection file names are read."""

    def __init__(self, uri: str, columns: Sequence[str]) -> None:
        self._uri, self._columns = uri, list(columns)

    def scan(self, scope: Scope) -> Iterator[Row | Unreadable]:
        for found in find(self._uri, scope):
            row = 0
            with self._open(found) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=self._columns):
                    for values in batch.to_pylist():
                        yield self._row(found, row, values)
                        row += 1

    def load(self, locators: Sequence[str]) -> Iterator[Row | Unreadable]:
        """Rows of one row group are read together where the locators stand in file order."""
        opened, file, group, bounds = "", None, -1, [0]
        table = pa.table({})
        for locator in locators:
            found, row, _ = Found.at(locator)
            try:
                if file is None or opened != str(found.path):
                    file, opened, group = self._open(found), str(found.path), -1
                    bounds = _bounds(file)
                wanted = next(i for i, end in enumerate(bounds[1:]) if row < end)
                if wanted != group:
                    table = file.read_row_group(wanted, columns=self._columns)
                    group = wanted
            except (OSError, SourceNotFound, StopIteration) as error:
                reason = error if isinstance(error, OSError) else OSError(str(error))
                yield Unreadable(locator, found.name, unreadable(reason))
                continue
            yield self._row(found, row, table.slice(row - bounds[group], 1).to_pylist()[0])

    def _open(self, found: Found) -> pq.ParquetFile:
        try:
            file = pq.ParquetFile(readable(found))
        except (pa.ArrowInvalid, pa.ArrowException) as error:
            raise SourceNotFound(
                f"is not a readable Parquet file: {error}", item=str(found.path)
            ) from error
        for column in self._columns:
            if column not in file.schema_arrow.names:
                raise UserMistake(
                    f"has no column {column!r}" + near(column, file.schema_arrow.names),
                    item=str(found.path),
                )
        return file

    def _row(self, found: Found, row: int, values: dict[str, object]) -> Row:
        locator = found.locator(row, row + 1)
        return Row(locator, found.name, values, found.partition, str(found.path.parent))


def _bounds(file: pq.ParquetFile) -> list[int]:
    """The first row of each row group, and the end of the last."""
    ends = [0]
    for group in range(file.num_row_groups):
        ends.append(ends[-1] + file.metadata.row_group(group).num_rows)
    return ends
