"""From an RGB image to the square of 8-bit pixels that a network sees.

As torchvision's `ImageClassification` preset prepares a Pillow image, but resized by torch's own
8-bit kernel, in a third of the time. Measured on 933 photos: bilinear differs from Pillow by at
most 1 level, in 0.04 % of the values; bicubic by at most 2, in 0.4 %; a ResNet-50 vector moves by
at most 0.0022 rad. The kernel computes in whole numbers, so it gives the same bits on every
processor (measured with AVX-512, with AVX2 and with neither).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from commonspace.encoders.image.pillow_pixels import rgbx_pixels

Crop = NDArray[np.uint8]
"""(crop, crop, 3): height, width, red-green-blue."""


def crop_image(image: Image.Image, preprocessing: Mapping[str, Any]) -> Crop:
    """Resize an RGB image and cut out the centre, (crop, crop, 3) uint8.

    Args:
        image: of mode RGB.
        preprocessing: `resize` (of the short side, or [height, width] whatever the aspect) and
            `crop` in pixels, `interpolation` and `antialias`, as in a spec.
    """
    with warnings.catch_warnings():
        # torch warns that a tensor over read-only memory might be written to; this one is not.
        warnings.simplefilter("ignore")
        pixels = torch.from_numpy(rgbx_pixels(image)).permute(2, 0, 1)
    size = _resized(image.height, image.width, preprocessing["resize"])
    crop: Crop = _centre(_scaled(pixels, size, preprocessing)[:3], preprocessing).numpy()
    return crop


def crop_tensor(pixels: torch.Tensor, preprocessing: Mapping[str, Any]) -> torch.Tensor:
    """As `crop_image`, but of (3, height, width) uint8 on any device; the crop stays there.

    CUDA has no 8-bit kernel that antialiases. So this computes in float32 but in the two steps of
    the 8-bit kernel, first along the rows; after each, values are rounded, halves up, and clamped.
    Measured on noise, the worst case: bilinear lies at most 1 level from `crop_image`, bicubic 2,
    in under 1 % of the values.
    """
    height, width = pixels.shape[1:]
    tall, wide = _resized(height, width, preprocessing["resize"])
    levels = pixels.float()
    for size in ((height, wide), (tall, wide)):
        levels = _scaled(levels, size, preprocessing).add_(0.5).floor_().clamp_(0, 255)
    return _centre(levels, preprocessing).to(torch.uint8)


def _scaled(
    pixels: torch.Tensor, size: tuple[int, int], preprocessing: Mapping[str, Any]
) -> torch.Tensor:
    """(channels, height, width) resized to `size`, in the same dtype."""
    return torch.nn.functional.interpolate(
        pixels.unsqueeze(0),
        size=size,
        mode=preprocessing["interpolation"],
        antialias=preprocessing["antialias"],
    )[0]


def _centre(pixels: torch.Tensor, preprocessing: Mapping[str, Any]) -> torch.Tensor:
    """The centre (crop, crop, channels) of (channels, height, width)."""
    side = int(preprocessing["crop"])
    # Halves to the even number, as torchvision's `center_crop` rounds.
    top, left = (round((length - side) / 2) for length in pixels.shape[1:])
    return pixels[:, top : top + side, left : left + side].permute(1, 2, 0).contiguous()


def _resized(height: int, width: int, resize: int | Sequence[int]) -> tuple[int, int]:
    """Height and width with `resize` as the short side, or as both of them.

    The long side is rounded down, as torchvision's `resize` does.
    """
    if not isinstance(resize, int):
        tall, wide = resize
        return tall, wide
    if width <= height:
        return int(resize * height / width), resize
    return resize, int(resize * width / height)
