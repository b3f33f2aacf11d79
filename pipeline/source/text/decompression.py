"""What a compressed file decompresses to, up to where it is cut or damaged."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.text.first_bytes import Compression
from commonspace.pipeline.source.text.zstd_frames import UpTo, end_of_frames

DECOMPRESSED_BYTES = 2**16
"""At once: of a stream that is cut, as much may be lost before the cut."""
_COMPRESSED_BYTES = 2**16
_GZIP = 16 + zlib.MAX_WBITS
_DAMAGE = (OSError, zlib.error, lzma.LZMAError)
"""What is raised for bytes that are not what they should be; EOFError where there are too few."""


class _Decompressor(Protocol):
    """Decompresses one member of a file; those of zlib, bz2 and lzma."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_DECOMPRESSORS: Mapping[Compression, Callable[[], _Decompressor]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
}


class Decompression(io.RawIOBase):
    """The decompressed bytes; closing it closes the file.

    Attributes:
        failure: Why they end before their end, once that was met.
    """

    def __init__(self, file: BinaryIO, compression: Compression) -> None:
        self._file, self._compression = file, compression
        self._parts = _zstd(file) if compression == "zstd" else _members(file, compression)
        self._part = b""
        self.failure: Failure | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            self._part = self._part or next(self._parts, b"")
        except EOFError:
            return self._fail("is cut: the file ends before it", retryable=True)
        except _DAMAGE as error:
            if "too much memory" in str(error):
                return self._fail("needs more than 128 MB to be read (zstd --long)")
            return self._fail("is damaged", retryable=True)
        size = min(len(buffer), len(self._part))
        buffer[:size], self._part = self._part[:size], self._part[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()

    def _fail(self, how: str, *, retryable: bool = False) -> int:
        message = f"its {self._compression} stream {how}"
        self.failure = Failure(Reason.SOURCE_UNREADABLE, message, retryable=retryable)
        return 0


def _members(file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """The members of a file one after the other; zeros behind one are padding."""
    data = file.read(_COMPRESSED_BYTES)
    while data:
        member = _DECOMPRESSORS[compression]()
        while not member.eof:
            if part := member.decompress(data, DECOMPRESSED_BYTES):
                yield part
            data = getattr(member, "unconsumed_tail", b"")  # bz2 and lzma keep it themselves
            if not part and not member.eof:
                more = file.read(_COMPRESSED_BYTES)
                if not more:
                    raise EOFError
                data += more
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := file.read(_COMPRESSED_BYTES)):
            data = more.lstrip(b"\0")


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    frames = pa.PythonFile(UpTo(file, end_of_frames(file)), "r")
    stream = pa.CompressedInputStream(frames, "zstd")
    try:
        while part := stream.read(DECOMPRESSED_BYTES):
            yield part
    except OSError as error:
        if "Truncated" in str(error):
            raise EOFError from error
        raise
