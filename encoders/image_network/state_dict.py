"""Loads the weights in a file into a network: every tensor, or none."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from commonspace.encoders.errors import WeightsRefused

StateDict = Mapping[str, torch.Tensor]


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a `.safetensors` or `.pth` file by name; no code in the file is executed.

    Raises:
        WeightsRefused: the file cannot be opened safely, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load reports a file that is cut off differently for each of its formats.
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError,
            TypeError, AttributeError, SafetensorError) as error:  # fmt: skip
        raise WeightsRefused(
            "the file cannot be opened: it is cut off, of another format, or a pickle that holds "
            "code",
            item=str(path),
            do="Copy or download the file again, or save its state_dict as .safetensors.",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise WeightsRefused(
            "the file does not hold a state_dict of tensors",
            item=str(path),
            do="Save `model.state_dict()`.",
        )
    return state


def load_every_tensor(
    network: torch.nn.Module, state: StateDict, *, architecture: str, path: Path
) -> None:
    """Load exactly the network's tensors.

    Args:
        network: gets the weights.
        state: as `read_state_dict` returned it, with the network's names.
        architecture: the network's name in its library, for errors.
        path: of the file, for errors.

    Raises:
        WeightsRefused: a tensor is missing, of another shape, or none of the network's.
    """
    expected = network.state_dict()
    # Versions, by which a module reads older names: torch.save keeps them, safetensors does not.
    versions = getattr(state, "_metadata", None) or expected._metadata  # type: ignore[attr-defined]
    misshapen = [k for k in state if k in expected and state[k].shape != expected[k].shape]
    fitting = OrderedDict((k, tensor) for k, tensor in state.items() if k not in misshapen)
    fitting._metadata = versions  # type: ignore[attr-defined]
    outcome = network.load_state_dict(fitting, strict=False)
    # Files from before torch 0.4.1 lack these counters, which inference does not need.
    missing = [k for k in outcome.missing_keys if not k.endswith("num_batches_tracked")]
    keys_by_problem = {
        "missing": [key for key in missing if key not in misshapen],
        "unexpected": outcome.unexpected_keys,
        "of another shape": misshapen,
    }
    problems = [
        f"{len(keys)} {problem} ({', '.join(sorted(keys)[:2])})"
        for problem, keys in keys_by_problem.items()
        if keys
    ]
    if problems:
        raise WeightsRefused(
            f"the weights are of another architecture than {architecture}; tensors: "
            f"{'; '.join(problems)}",
            item=str(path),
            do="Name the file of this architecture, or the architecture of this file.",
        )
