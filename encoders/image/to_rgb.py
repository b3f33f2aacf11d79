"""Converts images of every mode to RGB, by the rules that `image_file` lists."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image, ImageFile

_GREY16 = ("I;16", "I;16B", "I;16L", "I;16N")
_SIXTEEN = re.compile(r";16[BLN]$")
"""How Pillow's raw modes end where a channel has 16 bits; `BGR;16` is 5, 6 and 5 bits."""


def has_16_bit_channels(image: ImageFile.ImageFile) -> bool:
    """Whether the file has 16 bits a channel, of which Pillow keeps the upper eight.

    Must be called first: reading a PNG's EXIF tags loads the image, and Pillow then forgets this.
    """
    if not image.tile or image.mode in _GREY16:
        return False
    arguments = image.tile[0].args
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return isinstance(raw_mode, str) and _SIXTEEN.search(raw_mode) is not None


def to_rgb(image: Image.Image, rules: list[str]) -> Image.Image:
    """`image` in mode RGB; the names of the rules that were applied are appended to `rules`."""
    if image.mode in _GREY16:
        rules.append("grey16-to-8")
        wide = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        rules.append("alpha-on-white")
        if image.mode == "La":
            image = image.convert("LA")
        colours = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    if image.mode != "RGB":
        rules.append(f"{image.mode.lower()}-to-rgb")
        image = image.convert("RGB")
    return image
