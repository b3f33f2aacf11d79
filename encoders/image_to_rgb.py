"""Every mode of image to RGB, by the rules that `image_rules` lists."""

from __future__ import annotations

import numpy as np
from PIL import Image

_GREY16 = ("I;16", "I;16B", "I;16L", "I;16N")


def to_rgb(image: Image.Image, rules: list[str]) -> Image.Image:
    """`image` in mode RGB; the names of what was done are appended to `rules`."""
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
