"""Reads an image file: from its bytes to an upright RGB image, by these rules.

| the file                                     | outcome                                    |
|----------------------------------------------|--------------------------------------------|
| not `bytes`                                  | WRONG_TYPE                                 |
| no bytes                                     | EMPTY_IMAGE                                |
| HEIC or AVIF, and its library is installed   | decoded; `<library>-<version>`             |
| another image format than `FORMATS`          | UNSUPPORTED_FORMAT                         |
| more pixels than the limit                   | IMAGE_TOO_LARGE, before decoding           |
| a side under `MIN_SIDE`, or a strip          | IMAGE_TOO_SMALL                            |
| 32-bit integers or floats                    | UNSUPPORTED_MODE: their range is unknown   |
| cut off, a PNG without its end included      | TRUNCATED_IMAGE                            |
| anything else Pillow cannot decode           | UNREADABLE_IMAGE                           |
| EXIF orientation                             | turned upright: `exif-transpose`           |
| several frames                               | the first: `first-frame`                   |
| 16-bit grey                                  | divided by 257, not clipped: `grey16-to-8` |
| 16 bits a channel of colour, or with alpha   | the upper eight of each: `16-to-8`         |
| transparency of any kind                     | laid on white: `alpha-on-white`            |
| palette, grey, CMYK, YCbCr, LAB, 1-bit       | converted: `<mode>-to-rgb`                 |
| a colour profile                             | ignored                                    |
| a plain JPEG, in a space with `nvjpeg`       | decoded on the GPU: `nvjpeg`               |
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from commonspace.encoders.image.file_signatures import is_png_truncated, unaccepted_format
from commonspace.encoders.image.optional_formats import (
    decoder_of,
    decoder_rules,
    optional_format,
    what_is_missing,
)
from commonspace.encoders.image.to_rgb import has_16_bit_channels, to_rgb
from commonspace.encoders.protocol import IMAGE_LIMITS, Fact, Failure, Reason

# The rules decide about what Pillow warns of; a line for each odd tag of each file helps nobody.
warnings.filterwarnings("ignore", module=r"PIL\.")

IMAGE_RULES_VERSION = 1
"""Part of specs. Raise it when a rule above changes the pixels of any file."""

_PLUGINS = (
    JpegImagePlugin,
    PngImagePlugin,
    GifImagePlugin,
    WebPImagePlugin,
    BmpImagePlugin,
    TiffImagePlugin,
)  # named here, so that they are loaded: for a format it has not, Pillow loads all of its forty
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
MIN_SIDE = 8
"""Smaller images are tracking or layout pixels: enlarged thirtyfold they are one colour."""
MAX_ASPECT = 100
"""Of the long side to the short one; a square crop would show next to nothing of a thinner one."""

DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    struct.error,
    zlib.error,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
)
"""What Pillow raises on hostile files: seen on 2,127 of them, or found by reading its plugins."""
_UNKNOWN_RANGE = ("I", "F")


@dataclass(frozen=True)
class UprightImage:
    """A decoded image, mode RGB, and its facts with the keys of `FACTS["image"]`.

    Width and height are those of the file, before it is turned upright.
    """

    pixels: Image.Image
    facts: Mapping[str, Fact]


class ImageRefused(Exception):
    """A file is refused by a rule; internal, carries the failure."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.failure = Failure(reason, message)


def read_image(content: object, max_pixels: int = IMAGE_LIMITS.pixels) -> UprightImage | Failure:
    """Decode by the rules above; whatever the bytes hold, it raises nothing.

    Args:
        content: the bytes of an image file.
        max_pixels: the limit. A photo of 50 million pixels takes 150 MB as RGB, a few times that
            while it is converted.
    """
    if not isinstance(content, bytes):
        return Failure(Reason.WRONG_TYPE, f"expected bytes, got {type(content).__name__}")
    if not content:
        return Failure(Reason.EMPTY_IMAGE, "no bytes")
    # Other code in the process may have asked Pillow to fill what is missing with grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    name = optional_format(content)
    if name and decoder_of(name) is None:
        return Failure(Reason.UNSUPPORTED_FORMAT, what_is_missing(name))
    try:
        with Image.open(io.BytesIO(content), formats=(name,) if name else FORMATS) as image:
            return _decode(image, content, max_pixels)
    except ImageRefused as refused:
        return refused.failure
    except UnidentifiedImageError:
        return _unidentified(content, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Failure(Reason.IMAGE_TOO_LARGE, _first_line(error))
    except MemoryError:
        return Failure(Reason.UNREADABLE_IMAGE, "no memory to decode it", retryable=True)
    except EOFError as error:
        return Failure(Reason.TRUNCATED_IMAGE, _first_line(error))
    except DECODING_ERRORS as error:
        truncated = "truncated" in str(error).lower()
        reason = Reason.TRUNCATED_IMAGE if truncated else Reason.UNREADABLE_IMAGE
        return Failure(reason, _first_line(error))


def _decode(image: ImageFile.ImageFile, content: bytes, max_pixels: int) -> UprightImage:
    width, height = image.size
    require_accepted_size(width, height, max_pixels)
    stored_mode = image.mode
    if stored_mode in _UNKNOWN_RANGE:
        raise ImageRefused(Reason.UNSUPPORTED_MODE, f"mode {stored_mode}: 32 bits a pixel")
    if image.format == "PNG" and is_png_truncated(content):
        raise ImageRefused(Reason.TRUNCATED_IMAGE, "the PNG's end is missing")
    sixteen_bits = has_16_bit_channels(image)
    # Read before `load`, which turns a TIFF upright by itself and drops the tag.
    orientation = exif_orientation(image)
    if image.format == "TIFF" and orientation >= 5:
        width, height = height, width  # of a TIFF, Pillow gives the size of the upright image
    image.load()
    rules = decoder_rules(image.format)
    rules += ["exif-transpose"] if orientation != 1 else []
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1:
        rules.append("first-frame")
    if sixteen_bits:
        rules.append("16-to-8")
    image.load()  # again, as counting the frames drops the pixels of a TIFF
    upright = image if orientation == 1 else ImageOps.exif_transpose(image)
    pixels = to_rgb(upright, rules)
    facts: dict[str, Fact] = {
        "image_format": image.format or "",
        "image_mode": stored_mode,
        "image_width": width,
        "image_height": height,
        "image_orientation": orientation,
        "image_frames": frames,
        "image_rules": ",".join(rules),
    }
    return UprightImage(pixels, facts)


def require_accepted_size(width: int, height: int, max_pixels: int) -> None:
    """Check the size of an image by the rules.

    Raises:
        ImageRefused: it is too large, too small or too thin.
    """
    if width * height > max_pixels:
        raise ImageRefused(
            Reason.IMAGE_TOO_LARGE, f"{width} × {height} pixels; the limit is {max_pixels:,}"
        )
    short, long = sorted((width, height))
    if short < MIN_SIDE or long > MAX_ASPECT * short:
        raise ImageRefused(
            Reason.IMAGE_TOO_SMALL,
            f"{width} × {height} pixels; sides start at {MIN_SIDE}, strips end at 1:{MAX_ASPECT}",
        )


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it is not valid."""
    tag = image.getexif().get(ExifTags.Base.Orientation, 1)
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def _unidentified(content: bytes, optional: str | None) -> Failure:
    if optional:
        return Failure(Reason.UNREADABLE_IMAGE, f"broken, or of a kind of {optional} not decoded")
    if name := unaccepted_format(content):
        return Failure(Reason.UNSUPPORTED_FORMAT, f"{name} is not one of {', '.join(FORMATS)}")
    return Failure(
        Reason.UNREADABLE_IMAGE, f"broken, or not an image in one of {', '.join(FORMATS)}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
