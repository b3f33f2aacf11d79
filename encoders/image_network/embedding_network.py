"""A network as one module: 8-bit crops in, unit vectors out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class ImageEmbeddingNetwork(torch.nn.Module):
    """A network with the normalisation of its input and of its output.

    From (n, crop, crop, 3) uint8 to (n, dim) float32 of unit norm: crops are moved to a device as
    bytes, with the channels last, which is fastest for convolutions.
    """

    def __init__(self, network: torch.nn.Module, preprocessing: Mapping[str, Any]) -> None:
        """Take the network; `mean` and `std` in the spec's `preprocessing` are of levels 0..1."""
        super().__init__()
        self.network = network
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(preprocessing["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing["std"]).view(1, 3, 1, 1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """The crops' vectors."""
        pixels = crops.permute(0, 3, 1, 2).float() / 255
        features: torch.Tensor = self.network((pixels - self.mean) / self.std)
        # Untrained networks have tiny outputs: EfficientNet's features have a norm of 6e-13.
        return torch.nn.functional.normalize(features.float(), dim=1, eps=1e-30)
