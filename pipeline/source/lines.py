"""Text files line by line, and the lines of single records by byte offset and length."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.source.extents import End
from commonspace.pipeline.source.files import SourceFile, read_failure, require_readable
from commonspace.pipeline.source.records import Record, UnreadableRecord

ENCODINGS = ("utf-8", "utf-8-sig", "ascii", "latin-1", "iso-8859-1", "iso-8859-15", "cp1252")
"""Encodings in which the byte 0x0A is always a line break."""


class Lines(Iterator[str]):
    """The decoded lines of a binary file.

    offset: the byte after the last line that was read.
    number: how many lines were read: the number of the last one, from 1.
    undecodable: whether a line since it was last reset did not fit the encoding.
    """

    def __init__(self, file: BinaryIO, encoding: str, offset: int = 0) -> None:
        self._file, self._encoding, self._base = file, encoding, offset - file.tell()
        self.offset, self.number, self.undecodable = offset, 0, False
        self._line = b""

    @property
    def is_empty(self) -> bool:
        """Whether no line has been read."""
        return not self._line

    @property
    def is_open(self) -> bool:
        """Whether the last line that was read has no line end."""
        return bool(self._line) and not self._line.endswith(b"\n")

    def end(self, last: Record | UnreadableRecord | None) -> End:
        """How the file ended, all of its lines read.

        Args:
            last: its last record; one that cannot be read, and has no line end, was cut.
        """
        if last is None:
            return End.EMPTY
        if not self.is_open:
            return End.WHOLE
        return End.OPEN if isinstance(last, Record) else End.CUT

    def seek(self, offset: int, number: int) -> None:
        """Continue at that byte, the first of the line after as many."""
        self._file.seek(offset - self._base)
        self.offset, self.number, self.undecodable = offset, number, False

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        self.offset += len(line)
        self._line = line
        self.number += 1
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError:
            self.undecodable = True
            return line.decode(self._encoding, errors="replace")


class TextFiles:
    """Opens text files of one encoding from the top, or at single records."""

    def __init__(self, encoding: str) -> None:
        if encoding.lower() not in ENCODINGS:
            raise UserMistake(
                f"encoding {encoding!r} is not supported (known: {', '.join(ENCODINGS)})",
                do="Convert the file to UTF-8, or name one of these as the source's `encoding`.",
            )
        self.encoding = "utf-8" if encoding.lower() == "utf-8-sig" else encoding.lower()

    @contextmanager
    def open(self, source_file: SourceFile) -> Iterator[Lines]:
        with require_readable(source_file).open("rb") as file:
            file.seek(len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0)
            yield Lines(file, self.encoding, offset=file.tell())

    def read_records(
        self, locators: Sequence[str]
    ) -> Iterator[tuple[SourceFile, str, Lines | Failure]]:
        """For each locator its file, the locator, and the record's own lines or why there are none.

        A file stays open as long as consecutive locators lie in it.
        """
        file: BinaryIO | None = None
        open_path = ""
        try:
            for locator in locators:
                source_file, start, length = SourceFile.parse_locator(locator)
                try:
                    if file is None or open_path != str(source_file.path):
                        if file:
                            file.close()
                        file, open_path = source_file.path.open("rb"), str(source_file.path)
                    file.seek(start)
                    data = file.read(length)
                except OSError as error:
                    yield source_file, locator, read_failure(error)
                    file = None
                    continue
                yield source_file, locator, Lines(io.BytesIO(data), self.encoding, offset=start)
        finally:
            if file:
                file.close()
