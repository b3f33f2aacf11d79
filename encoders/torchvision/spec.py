"""The spec of a torchvision network: its weights, its layer, and how images are prepared.

This needs no torch for ResNets with local or no weights. The shapes of others are measured on
torch's `meta` device, where a network has no numbers, and torchvision is asked for their presets.
"""

from __future__ import annotations

from typing import Any

from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.image_network.decoding import decoding_of
from commonspace.encoders.image_network.local_weights import untrained_label
from commonspace.encoders.model_folder.digests import sha256_of
from commonspace.encoders.reference import EncoderReference, precision_of
from commonspace.encoders.spec import TOLERANCE, EncoderSpec
from commonspace.encoders.torchvision.architectures import PENULTIMATE
from commonspace.encoders.torchvision.weights import is_weights_name, named_weights, weights_file

_BASIC = ("resnet18", "resnet34")
_BOTTLENECK = (
    *("resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
)
_RESNET_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_RESNET_WIDTHS = dict.fromkeys(_BASIC, 64) | dict.fromkeys(_BOTTLENECK, 256)
"""Channels of `layer1`, doubled by each further one: He et al., Deep Residual Learning, table 1;
Xie et al., ResNeXt, table 1; Zagoruyko and Komodakis, Wide Residual Networks."""

_IMAGENET: dict[str, Any] = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bilinear",
    "antialias": True,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""The preset of torchvision's IMAGENET1K_V1 weights of ResNets."""
_RESIZE = {"resnext101_64x4d": 232}


def describe_network(reference: EncoderReference) -> EncoderSpec:
    """The spec of `torchvision/<architecture>` with the options of `reference`.

    Images are prepared by torchvision's own preset of the weights; for a local file, and for
    untrained weights, by the preset of the first weights torchvision has of the architecture.

    Raises:
        EncoderNotFound: there is no such layer, pooling, precision, decoder or weights, or the
            weights cannot be downloaded.
        WeightsRefused: the file is cut off, or its digest is not the one in its name.
        EncoderError: torch is needed and not installed.
    """
    architecture = reference.name.partition("/")[2]
    layer, pooling = _layer_and_pooling(reference)
    precision = precision_of(reference)
    path = weights_file(reference)
    preprocessing = preprocessing_of(
        architecture, reference.weights if is_weights_name(reference.weights) else None
    )
    return EncoderSpec(
        kind="torchvision",
        modality="image",
        architecture=architecture,
        weights=f"sha256:{sha256_of(path)}" if path else untrained_label(("torch",)),
        trained=path is not None,
        preprocessing={**decoding_of(reference), **preprocessing},
        layer=layer,
        pooling=pooling,
        dim=_dim(architecture, layer, pooling, preprocessing["crop"]),
        precision=precision,
        tolerance=TOLERANCE[precision],
    )


def preprocessing_of(architecture: str, weights: str | None) -> dict[str, Any]:
    """How images are prepared for torchvision's weights of this name, or its first for None.

    Returns:
        resize, crop: the short side after resizing, and the side of the square, in pixels.
        interpolation, antialias: of the resizing filter.
        mean, std: of each channel, of levels in 0..1.

    Raises:
        EncoderNotFound, EncoderError: as `named_weights`.
    """
    if weights is None and architecture in _RESNET_WIDTHS:
        return _IMAGENET | {"resize": _RESIZE.get(architecture, _IMAGENET["resize"])}
    transform = named_weights(architecture, weights).transforms()
    return {
        "resize": transform.resize_size[0],
        "crop": transform.crop_size[0],
        "interpolation": transform.interpolation.value,
        "antialias": bool(transform.antialias),
        "mean": list(transform.mean),
        "std": list(transform.std),
    }


def _layer_and_pooling(reference: EncoderReference) -> tuple[str, str]:
    """The layer, and how its map is pooled: empty for the penultimate layer, which has no map."""
    layer = reference.layer or PENULTIMATE
    if layer == PENULTIMATE:
        if reference.pooling is not None:
            raise EncoderNotFound(
                f"pooling {reference.pooling!r} needs a map, and the penultimate layer has none",
                item=reference.name,
                do="Remove `pooling`, or name an earlier `layer`, such as layer3 of a ResNet.",
            )
        return layer, ""
    pooling = reference.pooling or "average"
    if pooling not in ("average", "max"):
        raise EncoderNotFound(
            f"there is no pooling {pooling!r}",
            item=reference.name,
            do="Set it to average or max.",
        )
    return layer, pooling


def _dim(architecture: str, layer: str, pooling: str, crop: int) -> int:
    width = _RESNET_WIDTHS.get(architecture)
    if width and layer in (PENULTIMATE, *_RESNET_LAYERS):
        stage = 3 if layer == PENULTIMATE else _RESNET_LAYERS.index(layer)
        return int(width * 2**stage)
    from commonspace.encoders.engines.selection import require_torch

    require_torch()
    from commonspace.encoders.torchvision.network import measure_dim

    return measure_dim(architecture, layer, pooling, crop)
