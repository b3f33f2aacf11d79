"""What an engine runs for images: 8-bit crops in, unit vectors out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class ImageEmbeddingNetwork(torch.nn.Module):
    """A network between its input's normalisation and its output's.

    (n, crop, crop, 3) uint8 to (n, dim) float32 of unit norm: crops reach a device as the
    bytes they are, and lie there with the channels last, as convolutions like them.
    """

    def __init__(self, network: torch.nn.Module, preset: Mapping[str, Any]) -> None:
        """preset: `mean` and `std` of the channels in 0..1, as in a spec's preprocessing."""
        super().__init__()
        self.network = network
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(preset["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preset["std"]).view(1, 3, 1, 1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """The crops' vectors."""
        pixels = crops.permute(0, 3, 1, 2).float() / 255
        features: torch.Tensor = self.network((pixels - self.mean) / self.std)
        # Untrained networks fade: EfficientNet's features have a norm of 6e-13.
        return torch.nn.functional.normalize(features.float(), dim=1, eps=1e-30)
