"""Loads a file of torchvision's, or of its user's, into a network of torchvision."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import torch

from commonspace.encoders.image_network.state_dict import load_every_tensor, read_state_dict

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
"""torchvision's DenseNet files still have the names of PyTorch 0.3, which have one dot more."""


def load_state_dict_file(network: torch.nn.Module, path: Path, architecture: str) -> None:
    """Load a `.safetensors` or `.pth` file of exactly the network's tensors.

    Args:
        network: gets the weights.
        path: of the file.
        architecture: the network's name in torchvision.

    Raises:
        WeightsRefused: the file cannot be opened safely, or does not fit the architecture.
    """
    state = read_state_dict(path)
    if architecture.startswith("densenet"):
        renamed = ((_OLD_DENSENET.sub(r"\1\2.", key), tensor) for key, tensor in state.items())
        versions = getattr(state, "_metadata", None)
        state = OrderedDict(renamed)
        state._metadata = versions  # type: ignore[attr-defined]
    load_every_tensor(network, state, architecture=architecture, path=path)
