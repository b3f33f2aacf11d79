"""Where a ResNet's weights come from, and the spec they make; torch only for torchvision's own."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

from encoders.digest import sha256_of
from encoders.errors import EncoderError, EncoderNotFound, WeightsRefused
from encoders.image_rules import RULES_VERSION
from encoders.reference import EncoderReference
from encoders.safetensors_file import require_whole
from encoders.spec import EncoderSpec

FEATURES = {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048,
            "resnet152": 2048}  # fmt: skip
"""Penultimate dimensions: He et al., Deep Residual Learning, table 1."""

NAMED = ("IMAGENET1K_V1", "IMAGENET1K_V2")
UNTRAINED = "untrained"
SEED = 0

_IMAGENET: dict[str, Any] = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bilinear",
    "antialias": True,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""The preset of torchvision's IMAGENET1K_V1 weights."""

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")


def describe_resnet(reference: EncoderReference) -> EncoderSpec:
    """The spec of `torchvision/<architecture>` with `reference.weights`.

    Raises:
        EncoderNotFound: no weights are named, or they are not there or out of reach.
        WeightsRefused: the file is cut off or not what its name promises.
        EncoderError: torch is not installed and the weights need it.
    """
    architecture = reference.name.partition("/")[2]
    path = weights_file(reference)
    preset = _preset(architecture, reference.weights) if reference.weights in NAMED else _IMAGENET
    return EncoderSpec(
        kind="torchvision",
        modality="image",
        architecture=architecture,
        weights=f"sha256:{sha256_of(path)}" if path else _untrained(),
        trained=path is not None,
        # Pillow by name, not by version: what its releases may change is `rules`' business,
        # and a security fix must not part new vectors from old ones.
        preprocessing={"decoder": "pillow", "rules": RULES_VERSION, **preset},
        layer="penultimate",
        pooling="average",
        dim=FEATURES[architecture],
    )


def weights_file(reference: EncoderReference) -> Path | None:
    """The weights on disk, fetched first if they are torchvision's own; None for `untrained`."""
    weights = reference.weights
    if weights == UNTRAINED:
        return None
    if weights in NAMED:
        return _fetched(reference.name, str(weights))
    path = Path(weights or "")
    if not weights or not path.is_absolute() or path.suffix not in (".safetensors", ".pth"):
        raise EncoderNotFound(
            f"weights are {weights!r}" if weights else "no weights are named",
            item=reference.name,
            do=f"Set `weights` to {', '.join(NAMED)}, the absolute path of a .safetensors or "
            f".pth file, or {UNTRAINED!r} for a dry run.",
        )
    if not path.is_file():
        raise EncoderNotFound("no such weights file", item=weights)
    if path.suffix == ".safetensors":
        require_whole(path)
    return path


def _untrained() -> str:
    try:
        version = importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError as error:
        raise EncoderError(
            "torch is not installed", do='Install "commonspace[encoders]".'
        ) from error
    return f"untrained:seed={SEED},torch={version}"


def _named(architecture: str, weights: str) -> Any:
    from encoders.runtime import require_torch

    require_torch()
    from torchvision.models import get_model_weights

    known = get_model_weights(architecture)
    if weights not in known.__members__:
        raise EncoderNotFound(
            f"has no weights {weights}",
            item=f"torchvision/{architecture}",
            do=f"Its weights are: {', '.join(known.__members__)}.",
        )
    return known[weights]


def _preset(architecture: str, weights: str) -> dict[str, Any]:
    transform = _named(architecture, weights).transforms()
    return {
        "resize": transform.resize_size[0],
        "crop": transform.crop_size[0],
        "interpolation": transform.interpolation.value,
        "antialias": bool(transform.antialias),
        "mean": list(transform.mean),
        "std": list(transform.std),
    }


def _fetched(name: str, weights: str) -> Path:
    url: str = _named(name.partition("/")[2], weights).url
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    found = _HASH_IN_NAME.search(path.name)
    prefix = found.group(1) if found else ""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        except OSError as error:
            raise EncoderNotFound(
                f"torchvision's weights cannot be downloaded ({error})",
                item=f"{name} {weights}",
                retry=True,
                do="Try again, set `weights` to the absolute path of a local file, or to "
                f"{UNTRAINED!r} for a dry run.",
            ) from error
        except RuntimeError as error:
            raise WeightsRefused(str(error), item=path.name, retry=True) from error
    if not sha256_of(path).startswith(prefix):
        raise WeightsRefused(
            "its sha256 is not the one in its name",
            item=str(path),
            do="Delete the file; it is downloaded anew.",
        )
    return path
