"""A torchvision ResNet that ends at its average-pooled features."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file

from encoders.errors import WeightsRefused
from encoders.resnet_weights import SEED


def load_resnet(architecture: str, path: Path | None, device: str) -> torch.nn.Module:
    """The network in fp32 and evaluation mode; (n, 3, h, w) float32 to (n, dim) float32.

    Raises:
        WeightsRefused: the file cannot be opened safely, or does not fit the architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model: torch.nn.Module = torchvision.models.get_model(architecture, weights=None)
    if path is not None:
        _load_strictly(model, _state(path), path)
    model.fc = torch.nn.Identity()
    return model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)


def _state(path: Path) -> dict[str, torch.Tensor]:
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


def _load_strictly(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    wanted = model.state_dict()
    # Saved since torch 0.4.1 and not needed for inference: older files lack these counters.
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in wanted]
    misshapen = [k for k in state if k in wanted and state[k].shape != wanted[k].shape]
    named = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    problems = [
        f"{len(keys)} {problem} ({', '.join(sorted(keys)[:2])})"
        for problem, keys in named.items()
        if keys
    ]
    if problems:
        raise WeightsRefused(
            f"weights of another architecture: {'; '.join(problems)}", item=str(path)
        )
    floats = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
    counters = {key: value for key, value in wanted.items() if key not in state}
    model.load_state_dict(floats | counters, strict=True)
