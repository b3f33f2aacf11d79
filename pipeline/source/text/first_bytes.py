"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from typing import Literal

HEAD_BYTES = 512
"""How many bytes decide: a tar archive says what it is in bytes 257 to 262."""

Compression = Literal["gzip", "zstd", "bz2", "xz"]

_COMPRESSIONS: dict[Compression, re.Pattern[bytes]] = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    "bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
}
_OTHER_FORMATS = {
    "a zip archive, as Excel's .xlsx files are": rb"PK(\x03\x04|\x05\x06|\x07\x08)",
    "a file of an old Excel or Word": rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "a Parquet file": rb"PAR1[\x00-\x1f]",
    "an Arrow file": rb"ARROW1\x00\x00",
    "an Avro file": rb"Obj\x01",
    "an SQLite database": rb"SQLite format 3\x00",
    "a PDF": rb"%PDF-",
    "a web page": rb"\s*<(?i:!doctype html|html)\b",
    "XML": rb"\s*<\?xml\b",
    "an image": rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II\*\x00|MM\x00\*|RIFF.{4}WEBP",
    "a pointer of Git LFS, whose file was not fetched": rb"version https://git-lfs\.github\.com/",
    "a 7z archive": rb"7z\xbc\xaf\x27\x1c",
    "a RAR archive": rb"Rar!\x1a\x07",
    "compressed by lz4": rb"\x04\x22\x4d\x18",
    "compressed by snappy": rb"\xff\x06\x00\x00sNaPpY",
    "compressed by compress (.Z)": rb"\x1f[\x9d\xa0]",
    "a tar archive": rb"[^\x00].{256}ustar",
    "text in UTF-32": re.escape(BOM_UTF32_LE) + rb"|" + re.escape(BOM_UTF32_BE),
}
_MARKS = {"utf-8": BOM_UTF8, "utf-16-le": BOM_UTF16_LE, "utf-16-be": BOM_UTF16_BE}


def compression_of(head: bytes) -> Compression | None:
    """How the file is compressed, if it is."""
    return next((name for name, magic in _COMPRESSIONS.items() if magic.match(head)), None)


def other_format_of(head: bytes) -> str | None:
    """What the file is, where that is no text that could be read as it is."""
    names = _OTHER_FORMATS.items()
    return next((name for name, magic in names if re.match(magic, head, re.DOTALL)), None)


def format_of(head: bytes) -> str:
    """What a file is that should be no text."""
    if compression := compression_of(head):
        return f"a file compressed by {compression}"
    if other := other_format_of(head):
        return other
    is_text = b"\x00" not in head or bool(encoding_of(head, "")[0])
    return "text" if is_text else "bytes of no known format"


def encoding_of(head: bytes, declared: str) -> tuple[str, int]:
    """The encoding of a text, and the length of its byte order mark.

    A mark decides. Without one, UTF-16 shows by the zero bytes of its first two characters.
    """
    for encoding, mark in _MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    if re.match(rb"([^\x00]\x00){2}", head):
        return "utf-16-le", 0
    if re.match(rb"(\x00[^\x00]){2}", head):
        return "utf-16-be", 0
    return "utf-16-le" if declared == "utf-16" else declared, 0
