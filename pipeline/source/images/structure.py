"""How large an image file says that it is: sizes, frames and scans, read without decoding it.

A decoder's time and memory grow with these, whatever the bytes between hold. Readers stop where a
file makes no sense: whether it can be decoded is for the decoder to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from commonspace.pipeline.source.images.tiff_structure import (
    EXIF_MARK,
    TIFF_MARKS,
    tiff_directories,
)

_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_SCAN, _JPEG_END, _JPEG_EXIF = 0xDA, 0xD9, 0xE1
_PROGRESSIVE, _WITHOUT_LENGTH = (0xC2, 0xC6, 0xCA, 0xCE), (0x01, 0xD8)
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""FF 00 is a byte of coded data, FF FF begins with a fill byte, FF D0 to FF D7 are restarts."""
_ISO_SIZE = re.compile(rb"ispe....(....)(....)", re.DOTALL)
_ISO_HEADER = 2**20
"""Where a HEIC or AVIF has its boxes; the coded pictures come behind them."""


@dataclass(frozen=True)
class Counted:
    """What one part of a file adds to its structure.

    Attributes:
        width, height: of a picture; the largest counts.
        frames: pictures; the formats without frames have one.
        scans: passes over a JPEG's picture.
        tag_bytes: what the tags of a TIFF directory, or of EXIF, name as their values.
        overlaps: whether it is a directory of a TIFF that overlaps with others.
    """

    width: int = 0
    height: int = 0
    frames: int = 0
    scans: int = 0
    tag_bytes: int = 0
    overlaps: bool = field(default=False, kw_only=True)


def count_parts(content: bytes) -> Iterator[Counted]:
    """The parts of an image file in their order; none of a file of another kind.

    As lazy as it can be, so that who counts may stop at a limit.
    """
    for signature, reader in _READERS.items():
        if content.startswith(signature):
            yield from reader(content)
            return
    if content[4:8] == b"ftyp":
        for size in _ISO_SIZE.finditer(content, 0, _ISO_HEADER):
            yield Counted(*(int.from_bytes(side, "big") for side in size.groups()))


def _jpeg(content: bytes) -> Iterator[Counted]:
    """Segments up to the end of the first picture (ITU-T T.81, B.1.1), junk between them or not."""
    start, channels, is_progressive = 2, 0, False
    while (found := _MARKER.search(content, start)) is not None:
        start, marker = found.start(), found[0][1]
        if marker == _JPEG_END:
            return
        end = start + 2
        if marker not in _WITHOUT_LENGTH:
            end += int.from_bytes(content[end : end + 2], "big")
        if marker in _JPEG_FRAMES:
            height, width = _numbers(content, start + 5, 2, 2)
            (channels,) = _numbers(content, start + 9, 1, 1)
            is_progressive = marker in _PROGRESSIVE
            yield Counted(width, height)
        elif marker == _JPEG_EXIF and content.startswith(EXIF_MARK, start + 4):
            yield from _tags(content[start + 4 + len(EXIF_MARK) : end])
        elif marker == _JPEG_SCAN:
            yield Counted(scans=1)
            if not is_progressive and content[start + 4 : start + 5] == bytes([channels]):
                return  # a scan of all channels is the only one that is decoded
        start = max(end, start + 2)


def _png(content: bytes) -> Iterator[Counted]:
    """Chunks (https://www.w3.org/TR/png-3/#5Chunk-layout); frames of an APNG cost nothing."""
    start = 8
    while start + 8 <= len(content):
        (length,), name = _numbers(content, start, 4, 1), content[start + 4 : start + 8]
        if name == b"IHDR":
            yield Counted(*_numbers(content, start + 8, 4, 2))
        elif name == b"eXIf":
            yield from _tags(content[start + 8 : start + 8 + length])
        start += 12 + length


def _gif(content: bytes) -> Iterator[Counted]:
    """Blocks (GIF89a, 18 to 26); the first frame may reach beyond the screen."""
    yield Counted(*_numbers(content, 6, 2, 2, "little"))
    is_first = True
    start = 13 + _gif_table(content[10:11])
    while start + 2 <= len(content) and content[start] in b"!,":
        if content[start : start + 1] == b",":
            left, top, width, height = _numbers(content, start + 1, 2, 4, "little")
            yield Counted(left + width, top + height, 1) if is_first else Counted(frames=1)
            is_first = False
            start += 11 + _gif_table(content[start + 9 : start + 10])
        else:
            start += 2
        while start < len(content) and content[start]:
            start += 1 + content[start]
        start += 1


def _gif_table(flags: bytes) -> int:
    """The bytes of a table of colours, which three bits of its flags tell."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _webp(content: bytes) -> Iterator[Counted]:
    """Chunks (RFC 9649)."""
    start = 12
    while content[:4] == b"RIFF" and content[8:12] == b"WEBP" and start + 8 <= len(content):
        name, body = content[start : start + 4], content[start + 8 : start + 18]
        if name == b"VP8X":
            yield Counted(*(side + 1 for side in _numbers(body, 4, 3, 2, "little")))
        elif name == b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            yield Counted((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        elif name == b"VP8 ":
            yield Counted(*(side & 0x3FFF for side in _numbers(body, 6, 2, 2, "little")))
        elif name == b"ANMF":
            yield Counted(frames=1)
        length = int.from_bytes(content[start + 4 : start + 8], "little")
        if name == b"EXIF":
            yield from _tags(content[start + 8 : start + 8 + length].removeprefix(EXIF_MARK))
        start += 8 + length + length % 2


def _bmp(content: bytes) -> Iterator[Counted]:
    length = int.from_bytes(content[14:18], "little")
    width, height = _numbers(content, 18, 2 if length == 12 else 4, 2, "little")
    yield Counted(width, min(height, 2**32 - height))  # a negative height: from top to bottom


def _tiff(content: bytes) -> Iterator[Counted]:
    """Directories; only the picture of the first is decoded."""
    sides = True
    for found in tiff_directories(content):
        width, height = (found.width, found.height) if sides else (0, 0)
        yield Counted(width, height, 1, tag_bytes=found.tag_bytes, overlaps=found.overlaps)
        sides = False


def _tags(exif: bytes) -> Iterator[Counted]:
    """The tags of EXIF, a TIFF of its own: its first directory is read."""
    for directory in islice(tiff_directories(exif), 1):
        yield Counted(tag_bytes=directory.tag_bytes)


def _numbers(
    content: bytes, start: int, size: int, count: int, order: Literal["big", "little"] = "big"
) -> list[int]:
    """`count` numbers of `size` bytes without a sign; missing bytes count as zero."""
    places = range(start, start + size * count, size)
    return [int.from_bytes(content[place : place + size], order) for place in places]


_READERS: dict[bytes, Callable[[bytes], Iterator[Counted]]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"RIFF": _webp,
    b"BM": _bmp,
    **dict.fromkeys(TIFF_MARKS, _tiff),
}
