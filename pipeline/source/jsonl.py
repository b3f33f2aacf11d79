"""JSON Lines files: one record a line, each a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.extents import AtEnd, Extent, ignore
from commonspace.pipeline.source.files import SourceFile, find_files
from commonspace.pipeline.source.lines import TextFiles
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord


class JsonlSource:
    """Values are JSON values; a line that is not an object is a reject."""

    def __init__(self, uri: str, encoding: str) -> None:
        self._uri = uri
        self._files = TextFiles(encoding)

    def scan(self, scope: Scope, at_end: AtEnd = ignore) -> Iterator[Record | UnreadableRecord]:
        for file in find_files(self._uri, scope):
            record: Record | UnreadableRecord | None = None
            with self._files.open(file) as lines:
                number, end = 0, lines.offset
                for line in lines:
                    start, end, undecodable = end, lines.offset, lines.undecodable
                    lines.undecodable = False
                    if line.strip():
                        number += 1
                        place = f"record {number}, line {lines.number}, byte {start}"
                        locator = file.locator(start, end, place)
                        record = self._record(file, line, locator, undecodable=undecodable)
                        yield record
            at_end(Extent(file.name, lines.end(record)))

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        for file, locator, lines in self._files.read_records(locators):
            if isinstance(lines, Failure):
                yield UnreadableRecord(locator, file.name, lines)
            else:
                line = "".join(lines)
                yield self._record(file, line, locator, undecodable=lines.undecodable)

    def _record(
        self, file: SourceFile, line: str, locator: str, *, undecodable: bool
    ) -> Record | UnreadableRecord:
        problem, value = "", None
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:  # in its own words, this is line 1 of every file
            problem = f"is not valid JSON: {error.msg}, at character {error.colno} of the line"
        except (ValueError, RecursionError) as error:
            problem = f"is not valid JSON: {error}"
        if undecodable:
            problem = f"is not valid {self._files.encoding}"
        elif not problem and not isinstance(value, dict):
            problem = f"is no JSON object but {type(value).__name__}"
        if problem or value is None:
            is_open = not line.endswith("\n")  # its end may still be written
            failure = Failure(Reason.BAD_RECORD, problem, retryable=is_open)
            return UnreadableRecord(locator, file.name, failure, file.partition)
        return Record(locator, file.name, value, file.partition, file.folder)
