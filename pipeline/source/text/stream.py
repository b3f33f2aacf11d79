"""The bytes of a text file, decompressed, line by line; it can only be read forward."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.text.decompression import DECOMPRESSED_BYTES, Decompression
from commonspace.pipeline.source.text.first_bytes import (
    HEAD_BYTES,
    Compression,
    compression_of,
    encoding_of,
    other_format_of,
)

BUFFER_BYTES = 2**18


class TextStream:
    """A text file that is open behind its byte order mark.

    Attributes:
        encoding: Of its text: the declared one, unless its first bytes say otherwise.
        compression: How its file is compressed, if it is.
        offset: The byte that is read next, counted in what the file decompresses to.
    """

    def __init__(self, path: Path, declared_encoding: str) -> None:
        """Raises OSError, and SourceNotFound where the file is no text."""
        file = io.BufferedReader(io.FileIO(path), BUFFER_BYTES)
        self.compression = compression_of(file.peek(HEAD_BYTES))
        self._decompression = Decompression(file, self.compression) if self.compression else None
        raw = self._decompression
        self.file = io.BufferedReader(raw, DECOMPRESSED_BYTES) if raw else file
        head = self.file.peek(HEAD_BYTES)[:HEAD_BYTES]
        if problem := other_format_of(head) or (self.compression and compression_of(head)):
            self.close()
            raise _no_text(path, problem, self.compression)
        self.encoding, self.offset = encoding_of(head, declared_encoding)
        self.file.read(self.offset)

    @property
    def failure(self) -> Failure | None:
        """Why the file could not be decompressed to its end, once that was met."""
        return self._decompression.failure if self._decompression else None

    def reaches(self, offset: int) -> bool:
        """Whether `skip_to` can go there: in a compressed file only forward."""
        return not self.compression or self.offset <= offset

    def skip_to(self, offset: int) -> None:
        """Make that byte the next one."""
        if not self.compression:
            self.file.seek(offset)
        while self.compression and self.offset < offset:
            skipped = len(self.file.read(min(BUFFER_BYTES, offset - self.offset)))
            if not skipped:
                return
            self.offset += skipped
        self.offset = offset

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.offset += len(data)
        return data

    def close(self) -> None:
        self.file.close()


def line_reader(file: io.BufferedIOBase, encoding: str) -> LineReader:
    """What reads the lines of a file of that encoding, at most so many bytes at a time."""
    return _Utf16Lines(file, encoding).readline if encoding.startswith("utf-16") else file.readline


class LineReader(Protocol):
    """Reads up to the next line break, included, or so many bytes."""

    def __call__(self, size: int, /) -> bytes: ...


class _Utf16Lines:
    """Lines of UTF-16: a byte 0x0A is a line break only as one half of the character."""

    def __init__(self, file: io.BufferedIOBase, encoding: str) -> None:
        self._file, self._is_little = file, encoding == "utf-16-le"

    def readline(self, size: int, /) -> bytes:
        line = bytearray()
        size += size % 2
        while len(line) < size and (part := self._file.readline(size - len(line))):
            line += part
            if not part.endswith(b"\n"):
                break
            if self._is_little and len(line) % 2:
                line += (low := self._file.read(1))
                if low == b"\0":
                    break
            elif not self._is_little and not len(line) % 2 and line[-2] == 0:
                break
        return bytes(line)


def _no_text(path: Path, problem: str, compression: Compression | None) -> SourceNotFound:
    if compression == problem:
        what = f"is compressed twice by {compression}"
    else:
        what = f"is {problem}, not text" + (f", compressed by {compression}" if compression else "")
    hints = {"a Parquet file": 'A source of `kind = "parquet"` reads it.'}
    return SourceNotFound(
        what, item=str(path), do=hints.get(problem, "Write the source as plain or compressed text.")
    )
