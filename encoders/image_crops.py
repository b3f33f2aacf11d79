"""From an RGB image to the square of 8-bit pixels that a network sees.

As torchvision's `ImageClassification` preset prepares a Pillow image, but resized by torch's
own 8-bit kernel, in a third of the time. Measured on 933 photos: bilinear differs from Pillow
by at most 1 level, in 0.04 % of the values; bicubic by at most 2, in 0.4 %; a ResNet-50 vector
moves by at most 0.0022 rad. The kernel computes in whole numbers: it gives the same bits on
every processor (tried with AVX-512, with AVX2 and without either).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from encoders.pillow_memory import pixels_of

Crop = NDArray[np.uint8]
"""(crop, crop, 3): height, width, red-green-blue."""


def crop_of(image: Image.Image, preset: Mapping[str, Any]) -> Crop:
    """Resize the short side of an RGB image and cut out the centre, (crop, crop, 3) uint8.

    preset: `resize` and `crop` in pixels, `interpolation` and `antialias`, as in a spec.
    """
    height, width = _resized(image.height, image.width, preset["resize"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tensor over read-only memory could be written to
        pixels = torch.from_numpy(pixels_of(image))
    resized = torch.nn.functional.interpolate(
        pixels.permute(2, 0, 1).unsqueeze(0),
        size=(height, width),
        mode=preset["interpolation"],
        antialias=preset["antialias"],
    )
    side = int(preset["crop"])
    # Halves to the even number, as torchvision's `center_crop` rounds.
    top, left = round((height - side) / 2), round((width - side) / 2)
    cropped = resized[0, :3, top : top + side, left : left + side].permute(1, 2, 0)
    crop: Crop = cropped.contiguous().numpy()
    return crop


def _resized(height: int, width: int, short: int) -> tuple[int, int]:
    """The long side rounded down, as torchvision's `resize` does."""
    if width <= height:
        return int(short * height / width), short
    return short, int(short * width / height)
