"""Reading the structure of a file costs about its length, however it is put together."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.sections import LimitsSection
from commonspace.pipeline.source.images.bounds import exceeded_bound
from tests.pipeline.source.images.image_files import tiff_of_directories

NO_LIMITS = LimitsSection(max_image_frames=10**9, max_image_scans=10**9)


class CountedBytes(bytes):
    """Bytes that count how many of them are copied by slices."""

    copied = 0

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        if isinstance(place, slice):
            self.copied += len(part)
        return part


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + b"\0\0\0\0"


def webp(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def overlapping_directories(order: str, *, big: bool = False) -> bytes:
    """A TIFF whose directories each span much of the file, and begin a few bytes apart."""
    mark = {"<": b"II", ">": b"MM"}[order]
    count, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    header = mark + (struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42))
    first = len(header) + struct.calcsize(offset)
    content = bytearray(header + struct.pack(order + offset, first) + bytes(200_000))
    width, step = struct.calcsize(order + count), struct.calcsize(order + offset)
    for number in range(60):
        start, entries = first + number * step, 7_000
        struct.pack_into(order + count, content, start, entries)
        struct.pack_into(order + offset, content, start + width + entries * entry, start + step)
    return bytes(content)


FILES = {
    "png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IDAT", bytes(64)) * 3_000,
    "png-exif": b"\x89PNG\r\n\x1a\n" + png_chunk(b"eXIf", b"II*\0" + bytes(60)) * 3_000,
    "webp": webp((b"ANMF" + struct.pack("<I", 64) + bytes(64)) * 3_000),
    "webp-exif": webp((b"EXIF" + struct.pack("<I", 64) + bytes(64)) * 3_000),
    "gif": b"GIF89a" + bytes(7) + (b"!\xf9\x04" + bytes(4) + b"\0") * 20_000,
    "jpeg": b"\xff\xd8" + (b"\xff\xe1\x00\x40" + b"Exif\0\0II*\0" + bytes(52)) * 3_000,
    "tiff": tiff_of_directories(2_000),
    "bigtiff": tiff_of_directories(2_000, big=True),
    "tiff-overlapping": overlapping_directories("<"),
    "tiff-overlapping-motorola": overlapping_directories(">"),
    "bigtiff-overlapping": overlapping_directories("<", big=True),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_is_read_about_once(content: bytes) -> None:
    counted = CountedBytes(content)
    exceeded_bound(counted, NO_LIMITS)
    assert counted.copied < 4 * len(content) + 1_000


@pytest.mark.parametrize(
    "content", [overlapping_directories("<"), overlapping_directories(">"),
                overlapping_directories("<", big=True)]
)  # fmt: skip
def test_directories_that_overlap_are_refused(content: bytes) -> None:
    assert exceeded_bound(content, NO_LIMITS) == Failure(
        Reason.IMAGE_TOO_COSTLY, "its directories overlap: together they are longer than the file"
    )
    exif = b"\x89PNG\r\n\x1a\n" + png_chunk(b"eXIf", content)
    assert exceeded_bound(exif, NO_LIMITS) is None  # only its first directory is read
