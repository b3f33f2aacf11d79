"""Text files by line, with the way back to each record: its first byte and its length."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.source.files import SourceFile, require_readable, read_failure

ENCODINGS = ("utf-8", "utf-8-sig", "ascii", "latin-1", "iso-8859-1", "iso-8859-15", "cp1252")
"""Encodings in which the byte 0x0A is always a line's end."""


class Lines(Iterator[str]):
    """Decoded lines; `offset` is the byte after the last one, `undecodable` says one was not."""

    def __init__(self, file: BinaryIO, encoding: str, offset: int = 0) -> None:
        self._file, self._encoding, self._base = file, encoding, offset - file.tell()
        self.offset, self.undecodable = offset, False

    def back_to(self, offset: int) -> None:
        """Continue at that byte, a line's first."""
        self._file.seek(offset - self._base)
        self.offset, self.undecodable = offset, False

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        if self.offset == 0 and line.startswith(b"\xef\xbb\xbf"):
            line, self.offset = line[3:], 3
        self.offset += len(line)
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError:
            self.undecodable = True
            return line.decode(self._encoding, errors="replace")


class TextFiles:
    """Opens files from the top, or at the records that locators name."""

    def __init__(self, encoding: str) -> None:
        if encoding.lower() not in ENCODINGS:
            raise UserMistake(
                f"encoding {encoding!r} is not served (known: {', '.join(ENCODINGS)})",
                do="Convert the file to UTF-8, or name one of these as the source's `encoding`.",
            )
        self.encoding = "utf-8" if encoding.lower() == "utf-8-sig" else encoding.lower()

    @contextmanager
    def open(self, found: SourceFile) -> Iterator[Lines]:
        with require_readable(found).open("rb") as file:
            yield Lines(file, self.encoding)

    def at(self, locators: Sequence[str]) -> Iterator[tuple[SourceFile, str, Lines | Failure]]:
        """Each locator's record as lines of its own; a file is opened once for a run of them."""
        file: BinaryIO | None = None
        opened = ""
        try:
            for locator in locators:
                found, start, length = SourceFile.at(locator)
                try:
                    if file is None or opened != str(found.path):
                        if file:
                            file.close()
                        file, opened = found.path.open("rb"), str(found.path)
                    file.seek(start)
                    data = file.read(length)
                except OSError as error:
                    yield found, locator, read_failure(error)
                    file = None
                    continue
                yield found, locator, Lines(io.BytesIO(data), self.encoding, offset=start)
        finally:
            if file:
                file.close()
