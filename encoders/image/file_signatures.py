"""What the first and last bytes of an image file tell without decoding it."""

from __future__ import annotations

_SIGNATURES = (
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"icns", "ICNS"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"SIMPLE  =", "FITS"),
    (b"v/1\x01", "OpenEXR"),
    *((b"P%d" % kind + space, "PNM") for kind in range(1, 8) for space in (b" ", b"\n")),
)
_PNG_HEADER = 8


def unaccepted_format(content: bytes) -> str | None:
    """The name of a well-known image format that is not accepted, or None."""
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    return "SVG" if b"<svg" in content[:1024] else None


def is_png_truncated(content: bytes) -> bool:
    """Whether a PNG lacks its last chunk, IEND; Pillow accepts a PNG cut at 99 %.

    Chunk layout: https://www.w3.org/TR/png-3/#5Chunk-layout (length, type, data, 4 of CRC).
    """
    start = _PNG_HEADER
    while start + 12 <= len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] == b"IEND":
            return False
        start += 12 + length
    return True
