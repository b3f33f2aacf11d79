"""CSV files, record by record: a broken record is a reject, and the file is read on."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.extents import Extent, FileScan, scan_files
from commonspace.pipeline.source.files import SourceFile, find_files
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord
from commonspace.pipeline.source.text.csv_layout import (
    UNEXPECTED_END,
    CsvLayout,
    other_delimiter,
    read_layout,
)
from commonspace.pipeline.source.text.lines import Lines, RecordTooLarge
from commonspace.pipeline.source.text.text_files import TextFiles

# Python's default limit of 128 KiB a field would refuse long texts; `Lines` bounds the memory.
csv.field_size_limit(sys.maxsize)
_WITHIN_QUOTES = Failure(
    Reason.BAD_RECORD,
    "stands behind a quote that is still open where the file ends",
    retryable=True,
)


class CsvSource:
    """Values are strings exactly as written: no type is guessed, no leading zero lost.

    layout: what the collection file says of the files.
    """

    def __init__(self, uri: str, files: TextFiles, layout: CsvLayout) -> None:
        self._uri, self._files, self._layout = uri, files, layout

    def scan(self, scope: Scope) -> FileScan:
        yield from scan_files(find_files(self._uri, scope), self._scan_file)

    def _scan_file(self, file: SourceFile) -> FileScan:
        record: Record | UnreadableRecord | None = None
        with self._files.open(file) as lines:
            records = _Records(file, read_layout(lines, self._layout, file))
            for record in records.of(lines):
                yield record
        end = lines.end(record)
        # A text that lost its last words is a text, too.
        doubtful = record if lines.is_open and isinstance(record, Record) else None
        yield Extent(file.name, end, doubtful)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        records: dict[str, _Records] = {}
        for file, locator, lines in self._files.read_records(locators):
            if isinstance(lines, Failure):
                yield UnreadableRecord(locator, file.name, lines)
                continue
            key = str(file.path)
            if key not in records:
                with self._files.open(file) as first_lines:
                    records[key] = _Records(file, read_layout(first_lines, self._layout, file))
            failure = Failure(Reason.CHANGED_DURING_RUN, "the record is no longer there", True)
            missing = UnreadableRecord(locator, file.name, failure)
            yield next(records[key].of(lines, locator), missing)


class _Records:
    """The records of a file whose layout is known."""

    def __init__(self, file: SourceFile, layout: CsvLayout) -> None:
        self._file, self._layout = file, layout
        self._columns = tuple(layout.columns or ())
        self._unnamed = [n for n, name in enumerate(self._columns) if not name]
        named = [n for n, name in enumerate(self._columns) if name]
        self._last_named = named[-1] if named else -1

    def of(self, lines: Lines, locator: str = "") -> Iterator[Record | UnreadableRecord]:
        """The records from the next line on.

        What stands within the quotes of a broken record is never taken for records. Where they are
        open at the end of the file, which may be cut, each line behind is a reject of its own.
        """
        reader, file, number = self._layout.reader(lines), self._file, 0
        values: list[str]
        usual_width, is_within_quotes = -1 if self._unnamed else len(self._columns), False
        while True:
            lines.begin_record()
            values, problem, is_cut = [], None, False
            try:
                values = next(reader)
            except StopIteration:
                break
            except (csv.Error, RecordTooLarge) as error:
                if lines.failure:
                    break
                problem, is_cut = self._pass_over(error, lines), str(error) == UNEXPECTED_END
                reader = self._layout.reader(lines)
            if not values and problem is None and not lines.undecodable:
                continue
            number += 1
            place = f"record {number}, line {lines.first_number}, byte {lines.start}"
            found = locator or file.locator(lines.start, lines.offset, place)
            failure = None
            if problem is not None or len(values) != usual_width or lines.undecodable:
                failure = self._failure(values, problem, lines, is_cut=is_cut)
            failure = _WITHIN_QUOTES if is_within_quotes else failure
            is_within_quotes |= is_cut
            if failure is not None:
                yield UnreadableRecord(found, file.name, failure, file.partition)
                continue
            by_column = dict(zip(self._columns, values, strict=True))
            if self._unnamed:
                del by_column[""]
            yield Record(found, file.name, by_column, file.partition, file.folder)
        if lines.failure:
            place = f"record {number + 1}, line {lines.first_number}, byte {lines.start}"
            found = file.locator(lines.start, lines.offset, place)
            yield UnreadableRecord(found, file.name, lines.failure, file.partition)

    def _failure(
        self, values: Sequence[str], problem: Failure | str | None, lines: Lines, *, is_cut: bool
    ) -> Failure | None:
        """Why the record is none."""
        if isinstance(problem, Failure):
            return problem
        if lines.undecodable:
            problem = f"is not valid {lines.encoding}"
        elif problem is None and len(values) != len(self._columns):
            problem = f"has {len(values)} fields, the header has {len(self._columns)}"
            if self._layout.has_declared_columns and len(values) == 1:
                problem += _delimiter_hint(values[0], self._layout.delimiter)
        elif problem is None and self._unnamed:
            behind = [n for n in self._unnamed if n > self._last_named and values[n]]
            if behind:
                problem = f"has a value in field {behind[0] + 1}, which the header does not name"
        # The rest of it may still be written.
        retryable = is_cut or lines.is_open
        return Failure(Reason.BAD_RECORD, problem, retryable) if problem else None

    def _pass_over(self, error: Exception, lines: Lines) -> Failure | str:
        """Read on to where the next record may begin; why this one is broken."""
        problem = self._explain(error, lines)
        if str(error) == UNEXPECTED_END:
            lines.ended_within_record = True
            _resume(lines)
        elif isinstance(error, RecordTooLarge):
            lines.skip_quoted(self._layout.ends_within_quotes(lines.text))
        return problem

    def _explain(self, error: Exception, lines: Lines) -> Failure | str:
        if isinstance(error, RecordTooLarge):
            return lines.too_large
        if "new-line character" in str(error):
            return "has a carriage return that ends no line and is not quoted"
        escaped = '\\"'.encode(lines.encoding)
        if self._layout.escape is None and escaped in lines.record:
            return f"{error}; if quotes are written \\\", the source needs escape = '\\'"
        return str(error)


def _resume(lines: Lines) -> None:
    """Take the first line of a broken record alone; what is behind it is read again."""
    if lines.is_first_of_record:
        return
    lines.read_record_again()
    lines.begin_record()
    next(lines)


def _delimiter_hint(value: str, delimiter: str) -> str:
    other = other_delimiter(value, delimiter)
    return f"; is it delimiter = {json.dumps(other)}?" if other else ""
