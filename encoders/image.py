"""The image encoder: bytes of image files to the features of a torchvision network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transform

from encoders.ahead import ahead
from encoders.errors import EncoderError
from encoders.image_rules import read_image
from encoders.protocol import Content, Encoded, Fact, Failure, Purpose
from encoders.resnet_model import load_resnet
from encoders.runtime import cores
from encoders.spec import EncoderSpec
from encoders.unit_rows import unit_failures

CPU_BATCH = 4
"""Measured: on a CPU larger batches of ResNet-50 are slower an image, not faster."""
CUDA_BATCH = 128
_DECODERS = 8


class ImageEncoder:
    """Unit vectors of images, (m, dim) float32: average-pooled features before the classifier.

    Images are decoded by `image_rules` in threads, a few batches ahead of the network, and
    prepared exactly as torchvision's own transform of the weights prepares them.
    """

    def __init__(self, spec: EncoderSpec, weights: Path | None, device: str) -> None:
        """Load the network; `weights` None means the untrained one.

        Raises:
            WeightsRefused: as `resnet_model.load_resnet`.
        """
        self.spec = spec
        self.device = device
        self._device = torch.device(device)
        self._model = load_resnet(spec.architecture, weights, device)
        self._batch = CPU_BATCH if device == "cpu" else CUDA_BATCH
        self._decoders = min(_DECODERS, cores())

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """Encode image files; `purpose` changes nothing, as there are no prompts."""
        del purpose
        failures: dict[int, Failure] = {}
        positions: list[int] = []
        facts: list[Mapping[str, Fact]] = []
        waiting: list[torch.Tensor] = []
        parts: list[NDArray[np.float32]] = [np.empty((0, self.spec.dim), dtype=np.float32)]
        with ThreadPoolExecutor(self._decoders, thread_name_prefix="decode") as executor:
            prepared = ahead(executor, self._prepare, contents, 2 * self._batch + self._decoders)
            for position, outcome in enumerate(prepared):
                if isinstance(outcome, Failure):
                    failures[position] = outcome
                    continue
                positions.append(position)
                facts.append(outcome[1])
                waiting.append(outcome[0])
                if len(waiting) >= self._batch:
                    parts.append(self._features(waiting))
                    waiting = []
        if waiting:
            parts.append(self._features(waiting))
        vectors = np.concatenate(parts)
        bad = unit_failures(vectors)
        failures |= {positions[row]: failure for row, failure in bad.items()}
        kept = [row for row in range(len(positions)) if row not in bad]
        return Encoded(
            vectors if not bad else vectors[kept],
            np.array([positions[row] for row in kept], dtype=np.intp),
            [facts[row] for row in kept],
            failures,
        )

    def _prepare(self, content: Content) -> tuple[torch.Tensor, Mapping[str, Fact]] | Failure:
        """(3, crop, crop) float32 with the facts, or why there is none."""
        image = read_image(content)
        if isinstance(image, Failure):
            return image
        return prepared_pixels(image.pixels, self.spec.preprocessing), image.facts

    def _features(self, images: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """(n, dim) float32 of unit norm; batches shrink for good when the device is full."""
        parts: list[NDArray[np.float32]] = []
        start = 0
        while start < len(images):
            batch = images[start : start + self._batch]
            try:
                parts.append(self._forward(torch.stack(list(batch))))
                start += len(batch)
            except torch.cuda.OutOfMemoryError as error:
                torch.cuda.empty_cache()
                if self._batch == 1:
                    raise EncoderError("no device memory for one image", retry=True) from error
                self._batch = max(1, min(self._batch, len(batch)) // 2)
        return np.concatenate(parts)

    @torch.inference_mode()
    def _forward(self, batch: torch.Tensor) -> NDArray[np.float32]:
        if self._device.type != "cpu":
            batch = batch.pin_memory().to(self._device, non_blocking=True)
        features: torch.Tensor = self._model(batch)
        array: NDArray[np.float32] = torch.nn.functional.normalize(features, dim=1).cpu().numpy()
        return array


def prepared_pixels(image: Image.Image, preset: Mapping[str, object]) -> torch.Tensor:
    """An RGB image as torchvision's `ImageClassification` preset prepares it, (3, crop, crop)."""
    resized = transform.resize(
        image,
        [preset["resize"]],
        interpolation=InterpolationMode(preset["interpolation"]),
        antialias=preset["antialias"],
    )
    cropped = transform.center_crop(resized, [preset["crop"]])
    pixels = transform.convert_image_dtype(transform.pil_to_tensor(cropped), torch.float)
    normalised: torch.Tensor = transform.normalize(pixels, preset["mean"], preset["std"])
    return normalised
