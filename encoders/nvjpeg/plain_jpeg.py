"""Recognises plain JPEG files: complete, 8 bits a channel, grey or YCbCr, one picture.

Only these may be decoded by another decoder than Pillow. All others (cut off, CMYK, RGB, arithmetic
or lossless coding, unusual sampling, several pictures) are left to Pillow, which decides whether
they can be read. Markers: ITU-T T.81, table B.1 and B.1.1.2.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from PIL import Image

from commonspace.encoders.image.image_file import (
    DECODING_ERRORS,
    ImageRefused,
    exif_orientation,
    require_accepted_size,
)
from commonspace.encoders.nvjpeg.jpeg_structure import JpegStructure
from commonspace.encoders.protocol import IMAGE_LIMITS, Fact

_END, _SCAN = 0xD9, 0xDA
_SCAN_ENDS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The next marker behind coded data, where FF 00 is a data byte and FF D0 to FF D7 are restarts."""


@dataclass(frozen=True)
class PlainJpeg:
    """A plain JPEG file.

    Attributes:
        content: the file's bytes.
        end: where its end marker ends; bytes may follow.
        width, height: of the stored image, before `orientation` is applied.
        orientation: the EXIF orientation, 1 to 8.
        facts: those of its row, as if Pillow had decoded it.
    """

    content: bytes = field(repr=False)
    end: int
    width: int
    height: int
    orientation: int
    facts: Mapping[str, Fact]


def plain_jpeg(content: object, max_pixels: int = IMAGE_LIMITS.pixels) -> PlainJpeg | None:
    """The plain JPEG in these bytes, if they are one that `read_image` accepts; else None."""
    if not isinstance(content, bytes) or not (end := _plain_end(content)):
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            require_accepted_size(*image.size, max_pixels)
            if image.format != "JPEG" or image.mode not in ("L", "RGB"):
                return None
            orientation = exif_orientation(image)
            rules = ["exif-transpose"] if orientation != 1 else []
            rules += ["l-to-rgb"] if image.mode == "L" else []
            facts: dict[str, Fact] = {
                "image_format": "JPEG",
                "image_mode": image.mode,
                "image_width": image.width,
                "image_height": image.height,
                "image_orientation": orientation,
                "image_frames": 1,
                "image_rules": ",".join(rules),
            }
            return PlainJpeg(content, end, image.width, image.height, orientation, facts)
    except (ImageRefused, Image.DecompressionBombError, MemoryError, *DECODING_ERRORS):
        return None


def _plain_end(content: bytes) -> int:
    """Where a plain JPEG ends, just behind its end marker; 0 for any other bytes."""
    structure = JpegStructure()
    for marker, payload, end in _segments(content):
        if marker == _END:
            return end if structure.is_plain else 0
        if not structure.accept(marker, payload):
            return 0
    return 0


def _segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, payload and end of each segment, up to the end marker if there is one."""
    if not content.startswith(b"\xff\xd8"):
        return
    start = 2
    while start + 2 <= len(content) and content[start] == 0xFF:
        marker = content[start + 1]
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        if marker == _END:
            yield marker, b"", start + 2
            return
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if end < start + 4 or end > len(content):
            return
        yield marker, content[start + 4 : end], end
        start = end
        if marker == _SCAN:
            next_marker = _SCAN_ENDS.search(content, end)
            if next_marker is None:
                return
            start = next_marker.start()
