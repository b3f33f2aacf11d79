"""32 image files of many kinds, whose vectors show whether an encoder has changed.

They are drawn by whole-number formulas, so that every machine draws the same pixels. The files that
Pillow writes of them may differ between its versions: whoever compares has to keep the files. Not
one may be changed: spaces are stored with the vectors of these files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

_Pixels = NDArray[np.int64]
"""(height, width) of 0 to 255."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2**64 / golden ratio: Fibonacci hashing, Knuth, The Art of Computer Programming 6.4."""


@cache
def image_probes() -> tuple[bytes, ...]:
    """32 different image files of many formats, modes, sizes and compressions; drawn once."""
    return (*_photos(), *_turned(), *_drawings(), *_other_modes(), *_other_formats())


def _photos() -> Iterator[bytes]:
    """JPEG, stored in many ways; the large ones may be decoded at a reduced scale."""
    yield _file(_coloured(_clouds(1600, 1200, 160)), "JPEG", quality=90)
    yield _file(_coloured(_clouds(1024, 768, 64)), "JPEG", quality=75, subsampling="4:4:4")
    yield _file(_coloured(_rings(900, 600)), "JPEG", quality=95, subsampling="4:2:2")
    yield _file(_coloured(_clouds(640, 480, 24)), "JPEG", quality=30)
    yield _file(_coloured(_stripes(400, 300, 7)), "JPEG", quality=80, progressive=True)
    yield _file(_coloured(_writing(240, 720)), "JPEG", quality=60)
    yield _file(_grey(_clouds(320, 240, 40)), "JPEG")
    yield _file(_coloured(_clouds(300, 400, 50)).convert("CMYK"), "JPEG", quality=85)


def _turned() -> Iterator[bytes]:
    """JPEG whose EXIF orientation turns or mirrors it."""
    for orientation, size in ((3, (320, 200)), (5, (200, 320)), (6, (480, 360)), (8, (300, 200))):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        image = _coloured(_writing(*size) // 2 + _clouds(*size, 60) // 2)
        yield _file(image, "JPEG", exif=exif, quality=85)


def _drawings() -> Iterator[bytes]:
    """PNG with 8 bits a channel: fine patterns, extreme sizes, a single colour."""
    yield _file(_coloured(_gradient(256, 256)), "PNG")
    yield _file(_coloured(_checks(224, 224, 1)), "PNG")
    yield _file(_coloured(_checks(500, 375, 25)), "PNG")
    yield _file(_coloured(_noise(96, 96)), "PNG")
    yield _file(_coloured(_noise(16, 16)), "PNG")
    yield _file(_coloured(_writing(600, 48)), "PNG")
    yield _file(_coloured(_gradient(64, 64) * 0 + 90), "PNG")


def _other_modes() -> Iterator[bytes]:
    """PNG in the modes that a rule turns into RGB."""
    colours, shapes = _coloured(_clouds(240, 180, 45)), _grey(_rings(240, 180))
    yield _file(shapes, "PNG")
    yield _file(shapes.point(lambda level: 255 * (level > 127)).convert("1"), "PNG")
    yield _file(_sixteen_bits(_gradient(200, 150)), "PNG")
    yield _file(_palette(colours), "PNG")
    yield _file(_palette(colours), "PNG", transparency=3)
    yield _file(Image.merge("RGBA", (*colours.split(), shapes)), "PNG")
    yield _file(Image.merge("LA", (_grey(_writing(240, 180)), shapes)), "PNG")


def _other_formats() -> Iterator[bytes]:
    colours, drawn = _coloured(_clouds(280, 210, 30)), _coloured(_rings(280, 210))
    yield _file(_palette(drawn), "GIF", save_all=True, append_images=[_palette(colours)])
    yield _file(colours, "WEBP", quality=80)
    yield _file(drawn, "WEBP", lossless=True)
    yield _file(_coloured(_stripes(120, 90, 11)), "BMP")
    yield _file(colours, "TIFF", compression="tiff_adobe_deflate")
    yield _file(_sixteen_bits(_rings(160, 120)), "TIFF")


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _grey(pixels: _Pixels) -> Image.Image:
    return Image.fromarray(pixels.astype(np.uint8))


def _coloured(pixels: _Pixels) -> Image.Image:
    """RGB whose channels differ, so that a swap of them shows."""
    height, width = pixels.shape
    green = (pixels + _gradient(width, height)) // 2
    blue = 255 - pixels * _gradient(width, height)[:, ::-1] // 255
    return Image.fromarray(np.stack([pixels, green, blue], axis=2).astype(np.uint8))


def _sixteen_bits(pixels: _Pixels) -> Image.Image:
    return Image.fromarray((pixels * 257).astype(np.uint16))


def _palette(image: Image.Image) -> Image.Image:
    return image.quantize(16, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _grid(width: int, height: int) -> tuple[_Pixels, _Pixels]:
    rows, columns = np.mgrid[:height, :width]
    return columns.astype(np.int64), rows.astype(np.int64)


def _gradient(width: int, height: int) -> _Pixels:
    x, y = _grid(width, height)
    return 255 * (x + 2 * y) // (width + 2 * height)


def _checks(width: int, height: int, side: int) -> _Pixels:
    x, y = _grid(width, height)
    return 255 * ((x // side + y // side) % 2)


def _stripes(width: int, height: int, period: int) -> _Pixels:
    x, y = _grid(width, height)
    return 255 * ((2 * x + y) % period) // period


def _rings(width: int, height: int) -> _Pixels:
    """Circles around a point beside the centre, closer together further out."""
    x, y = _grid(width, height)
    distance = (3 * x - width) ** 2 + (3 * y - height) ** 2
    return 1024 * distance // (width * height) % 256


def _noise(width: int, height: int) -> _Pixels:
    x, y = (axis.astype(np.uint64) for axis in _grid(width, height))
    mixed = (x * _MULTIPLIER ^ y) * _MULTIPLIER
    mixed = (mixed ^ mixed >> np.uint64(29)) * _MULTIPLIER
    return (mixed >> np.uint64(56)).astype(np.int64)


def _clouds(width: int, height: int, cell: int) -> _Pixels:
    """Noise at the corners of cells, interpolated between: smooth, like most of a photo."""
    x, y = _grid(width, height)
    column, row, right, down = x // cell, y // cell, x % cell, y % cell
    knots = _noise(width // cell + 2, height // cell + 2)
    upper = knots[row, column] * (cell - right) + knots[row, column + 1] * right
    lower = knots[row + 1, column] * (cell - right) + knots[row + 1, column + 1] * right
    return ((upper * (cell - down) + lower * down) // cell**2).astype(np.int64)


def _writing(width: int, height: int) -> _Pixels:
    """Dark strokes in lines on a light page."""
    x, y = _grid(width, height)
    strokes = _noise(width // 3 + 1, height // 16 + 1)[y // 16, x // 3] < 130
    return 235 - 215 * (strokes & (y % 16 > 4) & (y % 16 < 13))
