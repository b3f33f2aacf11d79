"""Builds a torchvision classification network that ends at the layer a spec names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.overrides import TorchFunctionMode
from torchvision.models.feature_extraction import create_feature_extractor

from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.image_network.local_weights import SEED
from commonspace.encoders.torchvision.architectures import PENULTIMATE
from commonspace.encoders.torchvision.state_dict import load_state_dict_file


class PooledLayer(torch.nn.Module):
    """The pooled feature map of a layer: from (n, 3, h, w) to (n, channels)."""

    def __init__(self, extractor: torch.nn.Module, pooling: str) -> None:
        super().__init__()
        self.extractor, self.take_max = extractor, pooling == "max"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pool the map over its height and width."""
        feature_map: torch.Tensor = self.extractor(pixels)["map"].float()
        return feature_map.amax(dim=(2, 3)) if self.take_max else feature_map.mean(dim=(2, 3))


def load_network(
    architecture: str, layer: str, pooling: str, crop: int, weights: Path | None
) -> torch.nn.Module:
    """The network in fp32, from (n, 3, crop, crop) float32 to (n, dim) float32.

    Args:
        architecture: its name in torchvision.
        layer: where it ends: `penultimate` or the name of a module.
        pooling: `average` or `max` over the layer's map; empty for the penultimate layer.
        crop: the side of its images.
        weights: None for random ones, the same ones every time.

    Raises:
        WeightsRefused: the file cannot be opened safely, or does not fit the architecture.
        EncoderNotFound: the network has no such layer, or no map there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = build_network(architecture, crop)
    if weights is not None:
        load_state_dict_file(network, weights, architecture)
    network = network.to(dtype=torch.float32).eval().requires_grad_(False)
    return _cut_at(network, f"torchvision/{architecture}", layer, pooling)


def measure_dim(architecture: str, layer: str, pooling: str, crop: int) -> int:
    """How many features the layer has, without computing any.

    Raises:
        EncoderNotFound: the network has no such layer, or no map there.
    """
    name = f"torchvision/{architecture}"
    with _WeightsWithoutNumbers():
        network = build_network(architecture, crop)
    network = network.to("meta").eval()
    # Two images: a layer may fold height and width into the batch.
    pixels = torch.empty((2, 3, crop, crop), device="meta")
    if layer != PENULTIMATE:
        shape = tuple(_layer_extractor(network, name, layer)(pixels)["map"].shape)
        _require_map(shape, name, layer)
        return int(shape[1])
    return int(_cut_at(network, name, layer, pooling)(pixels).shape[1])


class _WeightsWithoutNumbers(TorchFunctionMode):
    """Creates weights on the `meta` device; what a network computes when built stays on the CPU."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def build_network(architecture: str, crop: int) -> torch.nn.Module:
    """The network with its classifier, of random weights, for square crops of that side."""
    options: dict[str, Any] = {}
    if architecture.startswith("vit_"):
        options["image_size"] = crop
    elif architecture in ("googlenet", "inception_v3"):
        # As torchvision builds them for its own weights, which expect other channel ranges.
        options = {"transform_input": True, "init_weights": False}
    network: torch.nn.Module = torchvision.models.get_model(architecture, weights=None, **options)
    return network


def _cut_at(network: torch.nn.Module, name: str, layer: str, pooling: str) -> torch.nn.Module:
    if layer != PENULTIMATE:
        return PooledLayer(_layer_extractor(network, name, layer), pooling)
    linear = [key for key, part in network.named_modules() if isinstance(part, torch.nn.Linear)]
    if not linear:
        raise EncoderNotFound(
            "has no penultimate layer, as it does not end in a linear one",
            item=name,
            do=f"Set `layer` to one with a map to pool, such as {', '.join(_main_parts(network))}.",
        )
    parent, _, last = linear[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, torch.nn.Identity())
    return network


def _layer_extractor(network: torch.nn.Module, name: str, layer: str) -> torch.nn.Module:
    """The network up to `layer`; it returns that layer's output as `map`."""
    known = [key for key, _ in network.named_modules() if key]
    if layer not in known:
        near = difflib.get_close_matches(layer, known, n=3, cutoff=0.5) or _main_parts(network)
        raise EncoderNotFound(
            f"has no layer {layer!r}",
            item=name,
            do=f"Did you mean {', '.join(near)}? Without `layer`, the penultimate one is taken.",
        )
    try:
        extractor: torch.nn.Module = create_feature_extractor(network, {layer: "map"})
    except ValueError as error:
        raise _no_map_error(name, layer, "it lies inside a part that cannot be divided") from error
    return extractor


def _main_parts(network: torch.nn.Module) -> list[str]:
    """The parts that a person is most likely to name."""
    inner = [f"features.{key}" for key, _ in getattr(network, "features", network).named_children()]
    return inner[-3:] if hasattr(network, "features") else list(dict(network.named_children()))


def _require_map(shape: tuple[int, ...], name: str, layer: str) -> None:
    """Check for a map (n, channels, h, w), which is square as the crop is.

    If the channels come last, it is not.
    """
    if len(shape) != 4 or shape[0] != 2 or shape[2] != shape[3]:
        sides = " × ".join(str(side) for side in shape[1:])
        raise _no_map_error(name, layer, f"its output is {sides}, not channels × height × width")


def _no_map_error(name: str, layer: str, why: str) -> EncoderNotFound:
    return EncoderNotFound(
        f"layer {layer!r} has no map to pool: {why}",
        item=name,
        do="Set `layer` to one of convolutions, or remove it to take the penultimate one.",
    )
