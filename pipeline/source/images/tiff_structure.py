"""The directories of a TIFF file or of EXIF, read without their values.

TIFF 6.0, section 2; BigTIFF has wider numbers (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

EXIF_MARK = b"Exif\0\0"
"""What precedes the TIFF of EXIF in a JPEG."""
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
"""How files begin that Pillow takes for TIFF; some writers mix up the order."""

_WIDTH, _HEIGHT = 256, 257
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip


@dataclass(frozen=True)
class TiffDirectory:
    """One directory.

    Attributes:
        width, height: of its picture; 0 where no tag says so.
        tag_bytes: how many bytes its tags name as their values; they may name the same ones.
        overlaps: whether it must overlap with those before: together they are longer than the file.
            Its tags are not read.
    """

    width: int = 0
    height: int = 0
    tag_bytes: int = 0
    overlaps: bool = False


def tiff_directories(content: bytes) -> Iterator[TiffDirectory]:
    """The chain of directories, up to one that has been there before, or that overlaps.

    All of them together are read in a time that grows with the file's length.
    """
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None:
        return
    is_big = content[2:3] == b"+"  # as Pillow tells: in the other order it reads no BigTIFF
    count_format, entry_format, offset_format = ("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")
    header = 8 if is_big else 4
    offset = _number(content, header, order + offset_format)
    entry_bytes = struct.calcsize(order + entry_format)
    seen, read = {0}, 0
    while offset not in seen:
        seen.add(offset)
        first = offset + struct.calcsize(count_format)
        count = _number(content, offset, order + count_format)
        end = first + count * entry_bytes
        if not count or end > len(content):
            return
        read += end - first
        if read > len(content):
            yield TiffDirectory(overlaps=True)
            return
        entries = struct.iter_unpack(order + entry_format, content[first:end])
        yield _directory(entries, order, is_big=is_big)
        offset = _number(content, end, order + offset_format)


def _directory(entries: Iterator[tuple[int, ...]], order: str, *, is_big: bool) -> TiffDirectory:
    sides, total = {_WIDTH: 0, _HEIGHT: 0}, 0
    inline, value_bits = (8, 64) if is_big else (4, 32)
    for tag, kind, count, value in entries:
        size = count * _TYPE_BYTES.get(kind, 0)
        total += size if size > inline else 0
        if tag in sides:
            bits = 8 * _TYPE_BYTES.get(kind, 4)
            # A short value stands in the first bytes of its field.
            sides[tag] = value >> max(value_bits - bits, 0) if order == ">" else value % 2**bits
    return TiffDirectory(sides[_WIDTH], sides[_HEIGHT], total)


def _number(content: bytes, start: int, number: str) -> int:
    """The number there, or 0 where the file has ended."""
    if start + struct.calcsize(number) > len(content):
        return 0
    return int(struct.unpack_from(number, content, start)[0])
