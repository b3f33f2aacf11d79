"""Reads how a CLIP folder prepares its images: its processor's settings, as values of the spec.

Settings that a file leaves out have the defaults of transformers' `CLIPImageProcessor`. A setting
whose effect `preprocess_image` does not reproduce is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.model_folder.json_files import read_json_object

_PROCESSORS = (None, "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor")
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of its filters."""
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the images CLIP was trained on: transformers.image_utils.OPENAI_CLIP_MEAN and _STD."""
_ALWAYS = ("do_resize", "do_rescale", "do_normalize")


def read_image_settings(model: Path, image_size: int) -> dict[str, Any]:
    """The settings by which an image becomes (3, image_size, image_size) float32.

    Returns:
        resize: the shortest side in pixels, or [height, width] whatever the aspect.
        interpolation, antialias: of the resizing filter.
        crop: the side of the square cut from the centre.
        rescale: the factor for a level in 0..255.
        mean, std: of each channel, subtracted and divided by after that.

    Raises:
        EncoderNotFound: the folder has no settings of a processor.
        WeightsRefused: the settings are not supported, or do not suit the model.
    """
    path, settings = _settings(model)
    unsupported = _unsupported(settings)
    if unsupported:
        raise WeightsRefused(f"unsupported settings: {', '.join(unsupported)}", item=str(path))
    resize = _resize(settings.get("size", 224))
    crop = _crop(settings, resize)
    if crop != image_size:
        raise WeightsRefused(
            f"it prepares images of {crop or resize} pixels, but the model takes {image_size}",
            item=str(path),
            do="Copy or download the folder again: its files do not belong together.",
        )
    return {
        "resize": resize,
        "interpolation": _INTERPOLATIONS[settings.get("resample", 3)],
        "antialias": True,
        "crop": crop,
        "rescale": float(settings.get("rescale_factor", 1 / 255)),
        "mean": [float(value) for value in settings.get("image_mean", _MEAN)],
        "std": [float(value) for value in settings.get("image_std", _STD)],
    }


def _settings(model: Path) -> tuple[Path, Mapping[str, Any]]:
    """Nested in the processor's file, else in their own, as transformers looks for them."""
    path = model / "processor_config.json"
    if path.exists():
        nested = read_json_object(path).get("image_processor")
        if isinstance(nested, dict):
            return path, nested
    path = model / "preprocessor_config.json"
    return path, read_json_object(path)


def _unsupported(settings: Mapping[str, Any]) -> list[str]:
    unsupported = [key for key in _ALWAYS if not settings.get(key, True)]
    unsupported += [key for key in ("do_pad", "auto_map") if settings.get(key)]
    kind = settings.get("image_processor_type", settings.get("feature_extractor_type"))
    if kind not in _PROCESSORS:
        unsupported.append(f"processor {kind}")
    if settings.get("resample", 3) not in _INTERPOLATIONS:
        unsupported.append(f"resample {settings['resample']}")
    channels = (settings.get("image_mean", _MEAN), settings.get("image_std", _STD))
    if not all(isinstance(values, list | tuple) and len(values) == 3 for values in channels):
        unsupported.append("a mean or deviation that is not of three channels")
    return unsupported


def _resize(size: Any) -> int | list[int]:
    if isinstance(size, int):
        return size
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        return int(size["shortest_edge"])
    if isinstance(size, dict) and set(size) == {"height", "width"}:
        return [int(size["height"]), int(size["width"])]
    raise WeightsRefused(f"unsupported settings: size {size}")


def _crop(settings: Mapping[str, Any], resize: int | list[int]) -> int | None:
    """The side of the square that is left; None where it is not square, or would be padded."""
    height, width = (resize, resize) if isinstance(resize, int) else resize
    if settings.get("do_center_crop", True):
        crop = settings.get("crop_size", 224)
        crops = [crop, crop] if isinstance(crop, int) else [crop.get("height"), crop.get("width")]
        within = crops[0] == crops[1] and crops[0] <= min(height, width)
        return int(crops[0]) if within else None
    return height if height == width and not isinstance(resize, int) else None
