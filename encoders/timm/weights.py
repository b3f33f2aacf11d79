"""Finds the weights of a timm network, without timm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.image_network.local_weights import UNTRAINED, local_weights
from commonspace.encoders.model_folder.json_files import read_json_object
from commonspace.encoders.model_folder.location import find_model_folder
from commonspace.encoders.model_folder.safetensors import require_complete
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.timm.package_weights import PREFIX, find_package_weights


@dataclass(frozen=True)
class NetworkWeights:
    """Where the weights of a network lie.

    Attributes:
        path: the file; None for random weights.
        timm_name: from the name of a tensor in the file to timm's; None where they are timm's.
        pretrained_cfg: what the weights' own description says beside them.
    """

    path: Path | None
    timm_name: Callable[[str], str] | None = None
    pretrained_cfg: Mapping[str, Any] = field(default_factory=dict)


def find_weights(reference: EncoderReference) -> NetworkWeights:
    """The weights that the reference names; those on the hub are downloaded first.

    Raises:
        EncoderNotFound: no weights are named, or two; there are none; the hub cannot be reached.
        WeightsRefused: the file is cut off, is not the one that is known, or belongs to another
            network.
        EncoderError: the hub's client is not installed.
    """
    weights, name = reference.weights, reference.name
    if weights is not None and reference.revision is not None:
        raise EncoderNotFound(
            "both `weights` and `revision` are set",
            item=name,
            do="Keep `revision` for the weights on the hub, or `weights` for any others.",
        )
    if reference.revision is not None:
        return _on_hub(reference)
    if weights == UNTRAINED:
        return NetworkWeights(None)
    if weights is not None and weights.startswith(PREFIX):
        path, known = find_package_weights(weights, name)
        return NetworkWeights(path, known.timm_name)
    otherwise = (
        "Set `revision` to a commit of the model on the hub (40 hexadecimal digits), or `weights` "
        "to the absolute path of a .safetensors or .pth file, to package:<module> for weights in "
        f"an installed package, or to {UNTRAINED!r} for a dry run."
    )
    return NetworkWeights(local_weights(reference, otherwise=otherwise))


def _on_hub(reference: EncoderReference) -> NetworkWeights:
    folder = find_model_folder(reference)
    description = read_json_object(folder / "config.json")
    network = reference.name.partition("/")[2].partition(".")[0]
    if description.get("architecture") != network:
        raise WeightsRefused(
            f"the hub has weights of {description.get('architecture')!r} under this name",
            item=reference.name,
        )
    if description.get("model_args"):
        raise WeightsRefused(
            "the network is built with arguments of its own, which are not supported: "
            f"{', '.join(description['model_args'])}",
            item=reference.name,
        )
    path = folder / "model.safetensors"
    if not path.is_file():
        raise WeightsRefused(
            "the hub has no model.safetensors of it, and pickled weights are never opened",
            item=reference.name,
            do="Name a revision that has one.",
        )
    require_complete(path)
    own = description.get("pretrained_cfg")
    return NetworkWeights(path, pretrained_cfg=own if isinstance(own, dict) else {})
