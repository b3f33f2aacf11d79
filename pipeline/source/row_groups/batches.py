"""Batches of a Parquet file's rows, none of which takes more memory than the limits allow."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.conversion.arrow import column_values
from commonspace.pipeline.source.records import record_too_large
from commonspace.pipeline.source.row_groups.footer import read_row_groups
from commonspace.pipeline.source.row_groups.pages import Page, column_pages

BATCH_ROWS = 256
BATCH_BYTES = 2**29
"""A batch has fewer rows where as many of the largest page would take more than this: a dictionary
may repeat one value in each row."""

HARMLESS_PAGE_BYTES = 2**24
MAX_RATIO = 100
"""A page that is larger than a record may be, and was compressed better than this, is not read:
what is compressed so well is one value, or was made to fill the memory."""

STRETCH_ROWS = 2**16
"""Headers of pages are read for about as many rows at once."""

PAGE_BUFFER_BYTES = 2**16
"""Pages are read through a buffer of this size, so that memory never holds a whole row group."""

UNREADABLE = (OSError, ValueError, ArithmeticError, pa.ArrowException)
"""What damaged bytes raise in Arrow and in Python."""

Values = dict[str, Any]


@dataclass(frozen=True)
class TooLarge:
    """A row that is larger than a record may be.

    id: the value of the column that holds it; None where the file has none.
    """

    id: Any
    failure: Failure


class EncryptedColumn(Exception):
    """A column that is needed can only be read with a key; its name is the first argument."""


class RowBatches:
    """Reads some columns of a Parquet file.

    Attributes:
        row_bounds: The number of the first row of each row group, and of the end of the last.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], max_record_bytes: int, *, id_column: str | None
    ) -> None:
        """Raises `UNREADABLE` where the file cannot be read, and EncryptedColumn."""
        self._path, self._limit, self._id_column = path, max_record_bytes, id_column
        self.file = pq.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=PAGE_BUFFER_BYTES,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit="us",  # in nanoseconds, the year 9999 becomes 1816
        )
        self.names = self.file.schema_arrow.names
        self._columns = [column for column in columns if column in self.names]
        self._column_of = _leaf_columns(self.file.schema, self._columns)
        with path.open("rb") as file:
            self._groups = read_row_groups(file, self._column_of)
        self.row_bounds = [0, *accumulate(group.rows for group in self._groups)]
        if self.row_bounds[-1] != self.file.metadata.num_rows:
            raise ValueError("its row groups do not have as many rows as it says")
        for group in self._groups:
            for number, chunk in group.chunks.items():
                if chunk is None:
                    raise EncryptedColumn(self._column_of[number])

    def group_of(self, row: int) -> int:
        """The row group that a row lies in."""
        return bisect_right(self.row_bounds, row) - 1

    def places(self, first: int) -> Iterator[str]:
        """Where each row of the file is from this one on, for people."""
        for group in range(self.group_of(first), self.file.num_row_groups):
            start, end = self.row_bounds[group], self.row_bounds[group + 1]
            for row in range(max(start, first), end):
                yield f"row group {group}, row {row - start}, record {row + 1}"

    def from_group(self, group: int) -> Iterator[tuple[int, pa.RecordBatch | Failure]]:
        """What is in the file from a row group on, each with the number of its first row.

        Batches have those of the columns that the file has. In the place of a row group that is not
        read stands why.
        """
        with self._path.open("rb") as file:
            while group < len(self._groups):
                stretch, largest = list[int](), 0
                refusal = None
                while group < len(self._groups) and self._rows(stretch) < STRETCH_ROWS:
                    pages = self._pages(file, group)
                    if (refusal := self._refusal(group, pages)) is not None:
                        break
                    largest = max([largest, *(page.uncompressed for page in pages.values())])
                    stretch.append(group)
                    group += 1
                yield from self._batches(stretch, largest)
                if refusal is not None:
                    yield self.row_bounds[group], refusal
                    group += 1

    def values(self, batch: pa.RecordBatch) -> list[Values | TooLarge]:
        """A batch as Python values, row by row."""
        if batch.nbytes <= self._limit:
            return list[Values | TooLarge](_values(batch))
        rows: list[Values | TooLarge] = []
        for number in range(batch.num_rows):
            row = batch.slice(number, 1)
            rows += _values(row) if row.nbytes <= self._limit else [self._too_large(row)]
        return rows

    def _too_large(self, row: pa.RecordBatch) -> TooLarge:
        has_id = self._id_column in row.schema.names
        item = column_values(row.column(self._id_column))[0] if has_id else None
        return TooLarge(item, record_too_large("the record", self._limit))

    def _batches(
        self, groups: list[int], largest: int
    ) -> Iterator[tuple[int, pa.RecordBatch | Failure]]:
        """The batches of some row groups; where one is damaged, why it is not read on."""
        if not groups:
            return
        first, rows = self.row_bounds[groups[0]], min(BATCH_ROWS, BATCH_BYTES // max(largest, 1))
        end, why = self.row_bounds[groups[-1] + 1], "it has fewer rows than the footer says"
        try:
            for batch in self.file.iter_batches(max(rows, 1), groups, self._columns):
                yield first, batch
                first += batch.num_rows
        except UNREADABLE as error:
            why = first_line(error)
        if first >= end:
            return
        if len(groups) == 1:
            yield first, _damaged(end - first, why)
            return
        for group in groups[self.group_of(first) - groups[0] :]:
            for start, batch in self._batches([group], largest):
                seen = max(first - start, 0)
                if isinstance(batch, Failure):
                    yield max(start, first), batch
                elif seen < batch.num_rows:
                    yield start + seen, batch.slice(seen)

    def _rows(self, groups: Sequence[int]) -> int:
        return self.row_bounds[groups[-1] + 1] - self.row_bounds[groups[0]] if groups else 0

    def _pages(self, file: BinaryIO, group: int) -> dict[str, Page]:
        """The largest page of each column that is read."""
        largest = dict[str, Page]()
        for number, chunk in self._groups[group].chunks.items():
            name = self._column_of[number]
            for page in column_pages(file, chunk.start, chunk.end) if chunk else ():
                known = largest.get(name)
                if known is None or page.uncompressed > known.uncompressed:
                    largest[name] = page
        return largest

    def _refusal(self, group: int, pages: dict[str, Page]) -> Failure | None:
        rows, limit = self._rows([group]), max(self._limit, HARMLESS_PAGE_BYTES)
        for column, page in pages.items():
            is_inflated = page.uncompressed > MAX_RATIO * page.compressed
            if page.uncompressed > limit and (is_inflated or rows == 1):
                what = f"column {column!r}"
                if rows > 1:
                    what = f"a page of {what}, of this row and the {rows - 1:,} behind it,"
                return record_too_large(f"not read: {what}", self._limit)
        return None


def _values(batch: pa.RecordBatch) -> list[Values]:
    if not batch.num_columns:
        return [{} for _ in range(batch.num_rows)]
    names = batch.schema.names
    rows = zip(*map(column_values, batch.columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _leaf_columns(schema: pq.ParquetSchema, columns: Sequence[str]) -> dict[int, str]:
    """The columns of values that belong to columns of the table, by their number."""
    paths = [schema.column(number).path for number in range(len(schema.names))]
    return {
        number: column
        for number, path in enumerate(paths)
        for column in columns
        if path == column or path.startswith(f"{column}.")
    }


def _damaged(rows: int, why: str) -> Failure:
    more = f" and the {rows - 1:,} behind it" if rows > 1 else ""
    return Failure(
        Reason.SOURCE_UNREADABLE, f"not read: this row{more}: the row group is damaged: {why}", True
    )


def first_line(error: BaseException) -> str:
    """What an error of Arrow says, without the places in its code."""
    return str(error).partition("\n")[0][:200]
