"""CSV files, record by record: a broken record is a reject, never a broken file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.files import SourceFile, find_files
from commonspace.pipeline.source.lines import Lines, TextFiles
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord

# Python's own limit of 128 KiB a field would refuse long texts; 64 MiB bounds the memory.
csv.field_size_limit(64 * 2**20)


class CsvSource:
    """Values are strings exactly as they stand: no type is guessed, no leading zero lost.

    columns: the names where a file has no header line.
    """

    def __init__(
        self, uri: str, encoding: str, delimiter: str, columns: Sequence[str] | None
    ) -> None:
        self._uri, self._delimiter, self._columns = uri, delimiter, columns
        self._files = TextFiles(encoding)

    def scan(self, scope: Scope) -> Iterator[Record | UnreadableRecord]:
        for found in find_files(self._uri, scope):
            with self._files.open(found) as lines:
                columns = self._columns or self._header(lines, found)
                yield from self._records(found, lines, columns)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        headers: dict[str, Sequence[str]] = {}
        for found, locator, lines in self._files.at(locators):
            if isinstance(lines, Failure):
                yield UnreadableRecord(locator, found.name, lines)
                continue
            key = str(found.path)
            if key not in headers:
                with self._files.open(found) as top:
                    headers[key] = self._columns or self._header(top, found)
            gone = Failure(Reason.CHANGED_DURING_RUN, "the record is no longer there", True)
            lost = UnreadableRecord(locator, found.name, gone)
            yield next(self._records(found, lines, headers[key], locator), lost)

    def _header(self, lines: Lines, found: SourceFile) -> Sequence[str]:
        try:
            header = next(csv.reader(lines, delimiter=self._delimiter, strict=True), None)
        except csv.Error:
            header = None
        if not header or len(set(header)) < len(header) or lines.undecodable:
            raise SourceNotFound(
                "has no usable header line (empty, repeated or undecodable names)",
                item=str(found.path),
                do='Name the columns in the collection file: columns = ["id", …].',
            )
        return header

    def _records(
        self, found: SourceFile, lines: Lines, columns: Sequence[str], locator: str = ""
    ) -> Iterator[Record | UnreadableRecord]:
        """The records that follow. After a broken one, reading resumes at its second line: a
        quote that nobody closed costs its own record, not all that stand behind it.
        """
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while True:
            start, lines.undecodable = lines.offset, False
            fault = ""
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                values, fault = [], str(error)
                lines.back_to(start)
                next(lines)
            where = locator or found.locator(start, lines.offset)
            if lines.undecodable:
                fault = f"is not valid {self._files.encoding}"
            elif not fault and not values:
                continue
            elif not fault and len(values) != len(columns):
                fault = f"has {len(values)} fields, the header has {len(columns)}"
            if fault:
                failure = Failure(Reason.BAD_RECORD, fault)
                yield UnreadableRecord(where, found.name, failure, found.partition)
            else:
                record = dict(zip(columns, values, strict=True))
                folder = str(found.path.parent)
                yield Record(where, found.name, record, found.partition, folder)
