"""JSON Lines files: one record a line, each a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.extents import Extent, FileScan, scan_files
from commonspace.pipeline.source.files import SourceFile, find_files
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord
from commonspace.pipeline.source.text.json_values import decode_record
from commonspace.pipeline.source.text.lines import Lines, RecordTooLarge
from commonspace.pipeline.source.text.text_files import TextFiles


class JsonlSource:
    """Values are JSON values; a line that is not an object is a reject.

    columns: those that the collection file needs.
    """

    def __init__(self, uri: str, files: TextFiles, columns: Sequence[str]) -> None:
        self._uri, self._files, self._columns = uri, files, columns

    def scan(self, scope: Scope) -> FileScan:
        yield from scan_files(find_files(self._uri, scope), self._scan_file)

    def _scan_file(self, file: SourceFile) -> FileScan:
        record: Record | UnreadableRecord | None = None
        with self._files.open(file) as lines:
            for record in self._records(file, lines):
                yield record
        yield Extent(file.name, lines.end(record))

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        for file, locator, lines in self._files.read_records(locators):
            if isinstance(lines, Failure):
                yield UnreadableRecord(locator, file.name, lines)
            else:
                yield self._record(file, "".join(lines), locator, lines)

    def _records(self, file: SourceFile, lines: Lines) -> Iterator[Record | UnreadableRecord]:
        number = 0
        while True:
            lines.begin_record()
            line = None
            try:
                line = next(lines)
            except StopIteration:
                break
            except RecordTooLarge:
                pass
            if line is not None and not line.strip():
                continue
            number += 1
            place = f"record {number}, line {lines.number}, byte {lines.start}"
            locator = file.locator(lines.start, lines.offset, place)
            if line is None:
                yield UnreadableRecord(locator, file.name, lines.too_large, file.partition)
                continue
            if number == 1 and _begins_array(line):
                raise SourceNotFound(
                    "is one JSON array, not JSON Lines: an object on each line",
                    item=str(file.path),
                    do="Write each of its objects on a line of its own: jq -c '.[]'.",
                )
            yield self._record(file, line, locator, lines)
        if lines.failure:
            place = f"record {number + 1}, line {lines.number + 1}, byte {lines.offset}"
            locator = file.locator(lines.offset, lines.offset, place)
            yield UnreadableRecord(locator, file.name, lines.failure, file.partition)

    def _record(
        self, file: SourceFile, line: str, locator: str, lines: Lines
    ) -> Record | UnreadableRecord:
        problem, value = "", None
        try:
            value = decode_record(line, self._columns)
        except json.JSONDecodeError as error:
            problem = f"is not valid JSON: {_explain(error, line)}"
        except (ValueError, RecursionError) as error:
            problem = f"is not valid JSON: {error}"
        if lines.undecodable:
            problem = f"is not valid {lines.encoding}"
        elif not problem and not isinstance(value, dict):
            problem = f"is no JSON object but {type(value).__name__}"
        if problem or value is None:
            is_open = not line.endswith("\n")  # its end may still be written
            failure = Failure(Reason.BAD_RECORD, problem, retryable=is_open)
            return UnreadableRecord(locator, file.name, failure, file.partition)
        return Record(locator, file.name, value, file.partition, file.folder)


def _explain(error: json.JSONDecodeError, line: str) -> str:
    """What is wrong with a line, without the number that it always has for the decoder: 1."""
    is_marked = line.startswith("\ufeff")
    what = "Unexpected UTF-8 BOM (decode using utf-8-sig)" if is_marked else error.msg
    return f"{what.removesuffix(' at')}, at character {error.colno} of the line"


def _begins_array(line: str) -> bool:
    return line.strip() == "[" or line.lstrip().startswith("[{")
