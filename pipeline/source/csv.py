"""CSV files, record by record: a broken record is a reject, and the file is read on."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.extents import AtEnd, End, Extent, ignore
from commonspace.pipeline.source.files import SourceFile, find_files
from commonspace.pipeline.source.lines import Lines, TextFiles
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord

# Python's default limit of 128 KiB a field would refuse long texts; 64 MiB bounds the memory.
csv.field_size_limit(64 * 2**20)


class CsvSource:
    """Values are strings exactly as written: no type is guessed, no leading zero lost.

    columns: their names, where the files have no header line.
    """

    def __init__(
        self, uri: str, encoding: str, delimiter: str, columns: Sequence[str] | None
    ) -> None:
        self._uri, self._delimiter, self._columns = uri, delimiter, columns
        self._files = TextFiles(encoding)

    def scan(self, scope: Scope, at_end: AtEnd = ignore) -> Iterator[Record | UnreadableRecord]:
        for file in find_files(self._uri, scope):
            record: Record | UnreadableRecord | None = None
            with self._files.open(file) as lines:
                columns = self._columns or self._header(lines, file)
                for record in self._records(file, lines, columns):
                    yield record
            end = lines.end(record)
            at_end(Extent(file.name, end, doubtful=end is End.OPEN))

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        headers: dict[str, Sequence[str]] = {}
        for file, locator, lines in self._files.read_records(locators):
            if isinstance(lines, Failure):
                yield UnreadableRecord(locator, file.name, lines)
                continue
            key = str(file.path)
            if key not in headers:
                with self._files.open(file) as first_lines:
                    headers[key] = self._columns or self._header(first_lines, file)
            failure = Failure(Reason.CHANGED_DURING_RUN, "the record is no longer there", True)
            missing = UnreadableRecord(locator, file.name, failure)
            yield next(self._records(file, lines, headers[key], locator), missing)

    def _header(self, lines: Lines, file: SourceFile) -> Sequence[str]:
        """The names of the columns; none where the file is empty."""
        try:
            header = next(csv.reader(lines, delimiter=self._delimiter, strict=True), None)
        except csv.Error:
            header = None
        if lines.is_empty:
            return ()
        if not header or len(set(header)) < len(header) or lines.undecodable:
            raise SourceNotFound(
                "has no usable header line: names are missing, repeated or undecodable",
                item=str(file.path),
                do='Name the columns in the collection file: columns = ["id", …].',
            )
        return header

    def _records(
        self, file: SourceFile, lines: Lines, columns: Sequence[str], locator: str = ""
    ) -> Iterator[Record | UnreadableRecord]:
        """The records from the next line on.

        After a broken record, reading resumes at its second line: an unclosed quote costs its own
        record, not all that follow.
        """
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        number = 0
        while True:
            start, lines_before, lines.undecodable = lines.offset, lines.number, False
            problem = ""
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                values, problem = [], str(error)
                lines.seek(start, lines_before)
                next(lines)
            if not (values or problem or lines.undecodable):
                continue
            number += 1
            place = f"record {number}, line {lines_before + 1}, byte {start}"
            found = locator or file.locator(start, lines.offset, place)
            if lines.undecodable:
                problem = f"is not valid {self._files.encoding}"
            elif not problem and len(values) != len(columns):
                problem = f"has {len(values)} fields, the header has {len(columns)}"
            if problem:
                # Without a line end, the rest of it may still be written.
                failure = Failure(Reason.BAD_RECORD, problem, retryable=lines.is_open)
                yield UnreadableRecord(found, file.name, failure, file.partition)
            else:
                by_column = dict(zip(columns, values, strict=True))
                yield Record(found, file.name, by_column, file.partition, file.folder)
