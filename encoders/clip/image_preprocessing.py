"""Resizes and crops an image as transformers' own processor of CLIP does, bit for bit.

That is `CLIPImageProcessor` on torchvision, which transformers and sentence-transformers use
where torchvision is installed: 8-bit levels are resized as a tensor. Its variant on Pillow
differs by up to 2 levels in 1 of 200 values (measured).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transform


def preprocess_image(image: Image.Image, preprocessing: Mapping[str, Any]) -> NDArray[np.uint8]:
    """An RGB image as (3, crop, crop) uint8, by settings as `read_image_settings` returns them."""
    levels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    side = preprocessing["resize"]
    levels = transform.resize(
        levels,
        [side] if isinstance(side, int) else list(side),
        interpolation=InterpolationMode(preprocessing["interpolation"]),
        antialias=preprocessing["antialias"],
    )
    crop = int(preprocessing["crop"])
    top, left = ((length - crop) // 2 for length in levels.shape[-2:])
    pixels: NDArray[np.uint8] = levels[:, top : top + crop, left : left + crop].numpy()
    return pixels
