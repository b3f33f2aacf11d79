"""Images that are written into a table as text: `data:` addresses (RFC 2397) and base64.

JSON and CSV have no bytes, so this is how both carry an image.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote_to_bytes

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.file_access import too_large

_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]"
    rb"|<svg|<\?xml|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|....ftyp",
    re.DOTALL,
)
"""How the files of common formats begin; a BMP is told by the length of its header, too."""
_SIGNATURE_CHARACTERS = 32
"""Characters of base64, which hold more than the longest signature."""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def is_data_address(value: str) -> bool:
    """Whether the text is an address that holds its data itself."""
    return value[:5].lower() == "data:"


def decode_data_address(value: str, max_bytes: int) -> bytes | Failure:
    """The bytes of a `data:` address; its media type is not asked, for the bytes decide."""
    head, comma, data = value.partition(",")
    if not comma:
        return Failure(Reason.UNREADABLE_IMAGE, "the data: address has no comma before its data")
    if head.rstrip().lower().endswith(";base64"):
        return decode_base64(data, max_bytes, "the data: address")
    try:
        content = unquote_to_bytes(data)
    except UnicodeEncodeError:
        return Failure(Reason.UNREADABLE_IMAGE, "the data: address has a lone surrogate")
    return too_large("the data: address", max_bytes) if len(content) > max_bytes else content


def begins_as_an_image(content: bytes) -> bool:
    """Whether the bytes begin as the file of a common format does."""
    return bool(_SIGNATURES.match(content))


def looks_like_an_image(value: str) -> bool:
    """Whether the text, read as base64, begins as an image file does."""
    start = "".join(value[: 2 * _SIGNATURE_CHARACTERS].split())[:_SIGNATURE_CHARACTERS]
    start = start[: len(start) // 4 * 4]
    try:
        return begins_as_an_image(_decode(start))
    except ValueError:
        return False


def decode_base64(value: str, max_bytes: int, what: str) -> bytes | Failure:
    """The bytes that base64 stands for, in either alphabet (RFC 4648), padded or not.

    Args:
        value: the text; blanks and line breaks in it are passed over, as in MIME.
        max_bytes: the most bytes that it may stand for.
        what: what the text is, for the message.
    """
    if len(value) > 4 * max_bytes:
        return too_large(what, max_bytes)
    try:
        text = unquote_to_bytes(value).decode("ascii") if "%" in value else value
        content = _decode("".join(text.split()))
    except ValueError:
        return Failure(Reason.UNREADABLE_IMAGE, f"{what} is not valid base64")
    return too_large(what, max_bytes) if len(content) > max_bytes else content


def _decode(text: str) -> bytes:
    digits = text.encode("ascii").translate(_URL_SAFE).rstrip(b"=")
    if len(text) - len(digits) > 2:
        raise ValueError("more padding than base64 has")
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
