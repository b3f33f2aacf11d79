"""JSON lines: one object a line, each line on its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.files import SourceFile, find_files
from commonspace.pipeline.source.lines import TextFiles
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord


class JsonlSource:
    """Values are JSON values; a line that is no object is a reject."""

    def __init__(self, uri: str, encoding: str) -> None:
        self._uri = uri
        self._files = TextFiles(encoding)

    def scan(self, scope: Scope) -> Iterator[Record | UnreadableRecord]:
        for found in find_files(self._uri, scope):
            with self._files.open(found) as lines:
                start = lines.offset
                for line in lines:
                    locator, undecodable = found.locator(start, lines.offset), lines.undecodable
                    start, lines.undecodable = lines.offset, False
                    if line.strip():
                        yield self._record(found, line, locator, undecodable=undecodable)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        for found, locator, lines in self._files.at(locators):
            if isinstance(lines, Failure):
                yield UnreadableRecord(locator, found.name, lines)
            else:
                line = "".join(lines)
                yield self._record(found, line, locator, undecodable=lines.undecodable)

    def _record(
        self, found: SourceFile, line: str, locator: str, *, undecodable: bool
    ) -> Record | UnreadableRecord:
        fault, value = "", None
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            fault = f"is not valid JSON: {error}"
        if undecodable:
            fault = f"is not valid {self._files.encoding}"
        elif not fault and not isinstance(value, dict):
            fault = f"is no JSON object but {type(value).__name__}"
        if fault or value is None:
            failure = Failure(Reason.BAD_RECORD, fault)
            return UnreadableRecord(locator, found.name, failure, found.partition)
        return Record(locator, found.name, value, found.partition, found.folder)
