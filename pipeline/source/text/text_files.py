"""Text files, opened from the top or at single records, as they are or compressed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.source.files import SourceFile, read_failure, require_readable
from commonspace.pipeline.source.text.lines import Lines
from commonspace.pipeline.source.text.open_streams import OpenStreams
from commonspace.pipeline.source.text.stream import TextStream

ENCODINGS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"),
    *("ascii", "latin-1", "iso-8859-1", "iso-8859-15", "cp1252"),
)
"""Encodings in which a line break is found without decoding what is before it."""


class TextFiles:
    """Opens text files of one encoding.

    A record of a compressed file is found by reading on to it. A few streams stay open between
    calls: as long as records are asked for in the order of the files, all of them cost one pass.
    """

    def __init__(self, encoding: str, max_record_bytes: int) -> None:
        if encoding.lower() not in ENCODINGS:
            raise UserMistake(
                f"encoding {encoding!r} is not supported (known: {', '.join(ENCODINGS)})",
                do="Convert the file to UTF-8, or name one of these as the source's `encoding`.",
            )
        self._encoding = "utf-8" if encoding.lower() == "utf-8-sig" else encoding.lower()
        self._limit = max_record_bytes
        self._streams = OpenStreams()

    @contextmanager
    def open(self, source_file: SourceFile) -> Iterator[Lines]:
        """The lines of a file. Raises SourceNotFound where it cannot be opened, or is no text."""
        stream = TextStream(require_readable(source_file), self._encoding)
        try:
            yield Lines(
                stream.file, stream.encoding, self._limit, stream.offset, lambda: stream.failure
            )
        finally:
            stream.close()

    def read_records(
        self, locators: Sequence[str]
    ) -> Iterator[tuple[SourceFile, str, Lines | Failure]]:
        """For each locator its file, the locator, and the record's own lines or why there are none.

        A file stays open as long as consecutive locators lie in it.
        """
        stream: TextStream | None = None
        open_path = Path()
        try:
            for locator in locators:
                source_file, start, length = SourceFile.parse_locator(locator)
                try:
                    if stream is None or open_path != source_file.path or not stream.reaches(start):
                        self._put_back(open_path, stream)
                        stream, open_path = self._take(source_file.path, start), source_file.path
                    stream.skip_to(start)
                    data = stream.read(length)
                except (OSError, SourceNotFound) as error:
                    cause = error if isinstance(error, OSError) else OSError(str(error))
                    yield source_file, locator, read_failure(cause)
                    stream = None
                    continue
                if stream.failure and len(data) < length:
                    yield source_file, locator, stream.failure
                    continue
                lines = Lines(io.BytesIO(data), stream.encoding, self._limit, start)
                yield source_file, locator, lines
        finally:
            self._put_back(open_path, stream)

    def _take(self, path: Path, start: int) -> TextStream:
        """The open stream of the file that is nearest before `start`, or a new one."""
        return self._streams.take(path, start) or TextStream(path, self._encoding)

    def _put_back(self, path: Path, stream: TextStream | None) -> None:
        """Keep a compressed file's stream open; any other is found again at no cost."""
        if stream is None:
            return
        if stream.compression:
            self._streams.keep(path, stream)
        else:
            stream.close()
