"""Image files that cost more than they look: made of the parts of small ones."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

from PIL import Image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg_of_scans(scans: int, side: int = 64, junk: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan is repeated; it can be decoded."""
    content = saved(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    starts = [found.start() for found in re.finditer(rb"\xff\xda", content)]
    last, end = content[starts[-1] : -2], content[-2:]
    return content[:-2] + (junk + last) * (scans - len(starts)) + end


def tiff_of_directories(count: int, *, order: str = "<", tags: int = 0, big: bool = False) -> bytes:
    """A chain of directories of one grey picture each, 16 × 9; they share their pixels.

    tags: further tags in each, which name all of the file's bytes as their value.
    """
    head, entry, offset = (16, "HHQQ", "Q") if big else (8, "HHII", "I")
    pixels = bytes(16 * 9)
    fields = {256: 16, 257: 9, 258: 8, 259: 1, 262: 1, 273: head, 277: 1, 278: 9, 279: len(pixels)}
    number = "Q" if big else "H"
    size = struct.calcsize(order + number + offset) + (len(fields) + tags) * struct.calcsize(
        order + entry
    )
    first = head + len(pixels)
    whole = first + count * size
    extra = [struct.pack(order + entry, 40_000 + n, 1, whole, 0) for n in range(tags)]
    entries = [struct.pack(order + entry, tag, 4, 1, 0)[: struct.calcsize(order + "HH" + offset)]
               + struct.pack(order + "I", value) + bytes(4 if big else 0)
               for tag, value in fields.items()]  # fmt: skip
    body = struct.pack(order + number, len(fields) + tags) + b"".join(entries + extra)
    mark = b"II" if order == "<" else b"MM"
    version = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    chain = [
        body + struct.pack(order + offset, first + (n + 1) * size if n + 1 < count else 0)
        for n in range(count)
    ]
    return mark + version + struct.pack(order + offset, first) + pixels + b"".join(chain)
