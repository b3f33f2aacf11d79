"""JPEG files that leave nothing to judge: whole, 8 bits a channel, grey or YCbCr, one picture.

Only these may be decoded by another decoder than Pillow. Whatever a file's structure does not
prove (cut off, CMYK, RGB, arithmetic or lossless coding, odd sampling, several pictures) is
Pillow's, whose verdict is the rule. Markers: ITU-T T.81, table B.1 and B.1.1.2.
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
from commonspace.encoders.protocol import Fact

_END, _SCAN = 0xD9, 0xDA
_SCAN_ENDS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The next marker behind coded data, in which FF 00 is a byte and FF D0 to FF D7 are restarts."""


@dataclass(frozen=True)
class PlainJpeg:
    """content: the file; end: where its end marker ends, there may be more behind it;
    facts: those of its row, as Pillow's, but for what its pixels' decoder adds.

    Width and height are those of the file, before `orientation` is applied.
    """

    content: bytes = field(repr=False)
    end: int
    width: int
    height: int
    orientation: int
    facts: Mapping[str, Fact]


def plain_jpeg(content: object) -> PlainJpeg | None:
    """What the bytes are if they are a plain JPEG that `image_rules` has no objection to."""
    if not isinstance(content, bytes) or not (end := _plain_end(content)):
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            require_accepted_size(*image.size)
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
        if not structure.take(marker, payload):
            return 0
    return 0


def _segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, payload and end of each segment; the end marker is the last, if it is there."""
    if not content.startswith(b"\xff\xd8"):
        return
    at = 2
    while at + 2 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a byte to fill up
            at += 1
            continue
        if marker == _END:
            yield marker, b"", at + 2
            return
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if end < at + 4 or end > len(content):
            return
        yield marker, content[at + 4 : end], end
        at = end
        if marker == _SCAN:
            behind = _SCAN_ENDS.search(content, end)
            if behind is None:
                return
            at = behind.start()
