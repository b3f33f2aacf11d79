"""Where the frames of a zstd file end: Arrow decompresses them, and takes padding for damage.

The format is RFC 8878: a frame is a header and blocks, which say how long they are.
"""

from __future__ import annotations

import io
from typing import BinaryIO

_FRAME, _SKIPPABLE = 0xFD2FB528, 0x184D2A50
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE = 1
_READ_BYTES = 2**18


class UpTo:
    """A file up to one of its bytes, as Arrow reads it."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._left = file, end - file.tell()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Nothing: the file is another's."""


def end_of_frames(file: BinaryIO) -> int:
    """The byte behind the last frame where only zeros follow it, else behind the file.

    The file is at its beginning, before and after.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(size - 1)
    end = size
    if file.read(1) == b"\0":
        end = 0
        while (after := _end_of_frame(file, end)) and after <= size:
            end = after
        file.seek(end)
        while data := file.read(_READ_BYTES):
            if data.strip(b"\0"):
                end = size
                break
    file.seek(0)
    return end


def _end_of_frame(file: BinaryIO, start: int) -> int | None:
    """The byte behind the frame that begins at `start`; None where none does."""
    file.seek(start)
    magic = _integer(file, 4)
    if magic & ~0xF == _SKIPPABLE:
        return _integer(file, 4) + file.tell()
    if magic != _FRAME:
        return None
    flags = _integer(file, 1)
    is_single_segment = flags >> 5 & 1
    content_size = _CONTENT_SIZE_BYTES[flags >> 6] or is_single_segment
    window = 1 - is_single_segment
    file.seek(window + _DICTIONARY_BYTES[flags & 3] + content_size, io.SEEK_CUR)
    is_last = 0
    while not is_last:
        header = file.read(3)
        if len(header) < 3:
            return None
        block = int.from_bytes(header, "little")
        is_last, kind, length = block & 1, block >> 1 & 3, block >> 3
        file.seek(1 if kind == _RLE else length, io.SEEK_CUR)
    has_checksum = flags >> 2 & 1
    return file.tell() + 4 * has_checksum


def _integer(file: BinaryIO, size: int) -> int:
    return int.from_bytes(file.read(size), "little")
