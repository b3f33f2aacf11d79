"""From timm's data configuration of a network to how its images are prepared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from commonspace.encoders.errors import EncoderNotFound

KEYS = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
"""What timm's own transforms read of a configuration."""


def image_settings(data_config: Mapping[str, Any], item: str) -> dict[str, Any]:
    """How images are prepared, as timm's `create_transform(**data_config)` does.

    Args:
        data_config: as timm resolves it; all of `KEYS`.
        item: the encoder, for errors.

    Returns:
        resize: the short side after resizing in pixels, or [height, width] whatever the aspect.
        crop: the side of the square.
        interpolation, antialias: of the resizing filter.
        mean, std: of each channel, of levels in 0..1.

    Raises:
        EncoderNotFound: the network takes no square RGB images, or they are prepared in a way that
            is not supported.
    """
    channels, height, width = data_config["input_size"]
    mode, interpolation = data_config["crop_mode"], data_config["interpolation"]
    if (channels, height) != (3, width) or not len(data_config["mean"]) == 3:
        raise _unsupported(f"images of {channels} × {height} × {width}", item)
    if mode not in ("center", "squash"):
        raise _unsupported(f"crop_mode {mode!r}", item)
    if interpolation not in ("bilinear", "bicubic"):
        raise _unsupported(f"interpolation {interpolation!r}", item)
    side = math.floor(height / data_config["crop_pct"])
    return {
        "resize": [side, side] if mode == "squash" else side,
        "crop": int(height),
        "interpolation": interpolation,
        "antialias": True,
        "mean": [float(value) for value in data_config["mean"]],
        "std": [float(value) for value in data_config["std"]],
    }


def _unsupported(what: str, item: str) -> EncoderNotFound:
    return EncoderNotFound(
        f"takes its images in a way that is not supported: {what}",
        item=item,
        do="Name a network that takes square RGB images.",
    )
