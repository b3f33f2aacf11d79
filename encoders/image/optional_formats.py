"""HEIC and AVIF, the formats of phones: read where the library of each is installed.

AVIF is Pillow's own where its build has it; HEIC comes with the package `pillow-heif`, the extra
`heif`. Both decode by a library whose version a row names in `image_rules`, as `libheif-1.23.6`.
"""

from __future__ import annotations

from functools import cache

from PIL import features

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MOST_BRANDS = 64


def optional_format(content: bytes) -> str | None:
    """`HEIF` or `AVIF` where the file says that it is one (ISO/IEC 14496-12, 4.3), or None."""
    if content[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(content[:4], "big"), 4 * _MOST_BRANDS, len(content))
    brands = {content[8:12], *(content[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIC_BRANDS or content[8:12] == b"mif1":
        return "HEIF"
    return None


@cache
def decoder_of(name: str) -> str | None:
    """The library that decodes the format, with its version; None where it is not installed."""
    if name == "AVIF":
        version = features.version("avif") if features.check("avif") else None
        return f"libavif-{version}" if version else None
    try:
        import pillow_heif
    except ImportError:
        return None
    pillow_heif.register_heif_opener(thumbnails=False)
    return f"libheif-{pillow_heif.libheif_version()}"


def decoder_rules(name: str | None) -> list[str]:
    """The rule that a row of this format has: which library decoded it; none of other formats."""
    decoder = decoder_of(name) if name in ("HEIF", "AVIF") else None
    return [decoder] if decoder else []


def what_is_missing(name: str) -> str:
    """What to install, for who has a file of the format and no library for it."""
    if name == "AVIF":
        return "AVIF needs a build of Pillow that has it"
    # Releases store this message and compare it: the wording stays as it is.
    return 'HEIC needs pillow-heif. In a checkout of commonspace: pip install ".[encoders,heif]".'
