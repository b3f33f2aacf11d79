"""Finds the weights of a torchvision network; needs torch only for torchvision's own weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.image_network.local_weights import UNTRAINED, local_weights
from commonspace.encoders.model_folder.digests import sha256_of
from commonspace.encoders.model_folder.download import download
from commonspace.encoders.reference import EncoderReference

_NAME = re.compile(r"[A-Z][A-Z0-9_]+")
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")


def is_weights_name(weights: str | None) -> bool:
    """Whether `weights` is written as torchvision names its own, such as `IMAGENET1K_V2`."""
    return weights is not None and _NAME.fullmatch(weights) is not None


def weights_file(reference: EncoderReference) -> Path | None:
    """The weights file; torchvision's own are downloaded first; None for `untrained`.

    Raises:
        EncoderNotFound: no weights are named, there are none, or they cannot be downloaded.
        WeightsRefused: the file is cut off, or its digest is not the one in its name.
        EncoderError: torch is needed and not installed.
    """
    weights = reference.weights
    if weights == UNTRAINED:
        return None
    if weights is not None and is_weights_name(weights):
        return _downloaded(reference.name, weights)
    return local_weights(
        reference,
        otherwise="Set `weights` to a name of torchvision's such as IMAGENET1K_V1, the absolute "
        f"path of a .safetensors or .pth file, or {UNTRAINED!r} for a dry run.",
    )


def named_weights(architecture: str, weights: str | None) -> Any:
    """torchvision's own weights of this name, or its first ones for None; imports torchvision.

    Raises:
        EncoderNotFound: the network has no weights of this name.
        EncoderError: torch or torchvision is missing, or they do not fit together.
    """
    from commonspace.encoders.engines.selection import require_torch

    require_torch()
    from torchvision.models import get_model_weights

    known = get_model_weights(architecture)
    if weights is None:
        return next(iter(known))
    if weights not in known.__members__:
        raise EncoderNotFound(
            f"has no weights {weights}",
            item=f"torchvision/{architecture}",
            do=f"Its weights are: {', '.join(known.__members__)}.",
        )
    return known[weights]


def cached_weights(weights: Any) -> Path:
    """Where torchvision's own weights lie once they are downloaded."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / str(weights.url).rpartition("/")[2]


def _downloaded(name: str, weights: str) -> Path:
    known = named_weights(name.partition("/")[2], weights)
    path = cached_weights(known)
    match = _HASH_IN_NAME.search(path.name)
    prefix = match.group(1) if match else ""
    if not path.exists():
        download(
            str(known.url),
            path,
            sha256_prefix=prefix,
            otherwise="Without it, set `weights` to the absolute path of a local file, or to "
            f"{UNTRAINED!r} for a dry run.",
        )
    if not sha256_of(path).startswith(prefix):
        raise WeightsRefused(
            "its sha256 is not the one in its name",
            item=str(path),
            do="Delete the file; it will be downloaded again.",
        )
    return path
