"""The weights of a file into a network: every tensor, or none."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from commonspace.encoders.errors import WeightsRefused

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
"""torchvision's DenseNet files still have the names of PyTorch 0.3, with one dot more."""


def load_state_dict_file(network: torch.nn.Module, path: Path, architecture: str) -> None:
    """Load a `.safetensors` or `.pth` file of exactly the network's tensors.

    Raises:
        WeightsRefused: the file cannot be opened safely, or does not fit the architecture.
    """
    state = _opened(path)
    wanted = network.state_dict()
    # Kept by torch.save, lost by safetensors: versions, by which a module reads older names.
    versions = getattr(state, "_metadata", None) or wanted._metadata  # type: ignore[attr-defined]
    if architecture.startswith("densenet"):
        state = {_OLD_DENSENET.sub(r"\1\2.", key): tensor for key, tensor in state.items()}
    misshapen = [k for k in state if k in wanted and state[k].shape != wanted[k].shape]
    fitting = OrderedDict((k, tensor) for k, tensor in state.items() if k not in misshapen)
    fitting._metadata = versions  # type: ignore[attr-defined]
    found = network.load_state_dict(fitting, strict=False)
    # Counters, saved since torch 0.4.1 and not needed for inference: older files lack them.
    missing = [k for k in found.missing_keys if not k.endswith("num_batches_tracked")]
    named = {
        "missing": [key for key in missing if key not in misshapen],
        "unexpected": found.unexpected_keys,
        "misshapen": misshapen,
    }
    problems = [
        f"{len(keys)} {problem} ({', '.join(sorted(keys)[:2])})"
        for problem, keys in named.items()
        if keys
    ]
    if problems:
        raise WeightsRefused(
            f"weights of another architecture: {'; '.join(problems)}", item=str(path)
        )


def _opened(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load reports a cut file in as many ways as it has formats.
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError,
            TypeError, AttributeError, SafetensorError) as error:  # fmt: skip
        raise WeightsRefused(
            "cannot be opened: cut off, of another format, or a pickle that holds code",
            item=str(path),
            do="Copy or download the file anew, or save its state_dict as .safetensors.",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise WeightsRefused(
            "not a state_dict of tensors", item=str(path), do="Save `model.state_dict()`."
        )
    return state
