"""Builds a network of timm that ends at its pooled penultimate features, with its weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from commonspace.encoders.errors import EncoderError, EncoderNotFound, WeightsRefused
from commonspace.encoders.image_network.local_weights import SEED
from commonspace.encoders.image_network.state_dict import (
    StateDict,
    load_every_tensor,
    read_state_dict,
)
from commonspace.encoders.timm.image_settings import KEYS
from commonspace.encoders.timm.network_facts import INSTALL_TIMM, NetworkFacts

try:
    import timm
    from timm.data import resolve_data_config
except ModuleNotFoundError as error:
    raise EncoderError(f"{error.name} is not installed", do=INSTALL_TIMM) from error


class PenultimateFeatures(torch.nn.Module):
    """What a network's classifier would be given: from (n, 3, side, side) to (n, dim) float32."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The pooled features."""
        feature_map = self.network.forward_features(pixels)
        features: torch.Tensor = self.network.forward_head(feature_map, pre_logits=True)
        return features


def measure_facts(name: str) -> NetworkFacts:
    """What a spec needs to know of the network; no weights are made.

    Raises:
        EncoderNotFound: timm has no such network, or it has no pooled features.
    """
    _require_known(name)
    with torch.device("meta"):
        return _facts_of(timm.create_model(name), name)


def load_network(
    name: str, weights: Path | None, timm_name: Callable[[str], str] | None
) -> tuple[PenultimateFeatures, NetworkFacts]:
    """The network in fp32, from (n, 3, side, side) float32 to (n, dim) float32, and its facts.

    Args:
        name: its name in timm, with or without a tag.
        weights: None for random ones, the same ones every time.
        timm_name: from the name of a tensor in the file to timm's; None where they are timm's.

    Raises:
        WeightsRefused: the file cannot be opened safely, or does not fit the network.
        EncoderNotFound: as `measure_facts`.
    """
    _require_known(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        if weights is None:
            network = timm.create_model(name)
        else:
            state = read_state_dict(weights)
            if timm_name is not None:
                state = {timm_name(key): tensor for key, tensor in state.items()}
            network = _with_weights(name, state, weights)
    facts = _facts_of(network, name)
    network = network.to(dtype=torch.float32).eval().requires_grad_(False)
    return PenultimateFeatures(network), facts


def _facts_of(network: Any, name: str) -> NetworkFacts:
    if not isinstance(getattr(network, "head_hidden_size", None), int):
        raise EncoderNotFound(
            "has no pooled features", item=f"timm/{name}", do="Name a network with a classifier."
        )
    config = resolve_data_config(pretrained_cfg=network.pretrained_cfg)
    settings = {key: config[key] for key in KEYS}
    lists = {key: list(value) for key, value in settings.items() if isinstance(value, tuple)}
    return NetworkFacts(network.head_hidden_size, settings | lists)


def _require_known(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.6)
        raise EncoderNotFound(
            f"timm {timm.__version__} has no network of this name",
            item=f"timm/{name}",
            do=f"Did you mean {', '.join(near)}?" if near else "See `timm.list_models()`.",
        )
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        raise EncoderNotFound(
            f"timm {timm.__version__} has no weights {tag!r} of this network",
            item=f"timm/{name}",
            do=f"It has: {', '.join(tagged)}." if tagged else f"Name it timm/{architecture}.",
        )


def _with_weights(name: str, state: StateDict, path: Path) -> Any:
    """The network with every weight out of the file, whose classifier may be of any classes."""
    config = timm.get_pretrained_cfg(name).to_dict()
    classifier = config.get("classifier")
    first = classifier[0] if isinstance(classifier, tuple | list) else classifier
    head = state.get(f"{first}.weight")
    offset = config.get("label_offset") or 0
    classes = config["num_classes"] if head is None else len(head) - offset
    network = timm.create_model(name, num_classes=classes)
    try:
        load_every_tensor(network, state, architecture=name, path=path)
    except WeightsRefused as refused:
        network = _converted_by_timm(name, state, classes)
        if network is None:
            raise refused from None
    return network


def _converted_by_timm(name: str, state: StateDict, classes: int) -> Any | None:
    """The network with weights that have older names, which timm knows; None where one is missing.

    timm lets some networks keep random weights where the file has none. So the same file without
    numbers is loaded first: then every weight must be NaN.
    """
    try:
        unknown = {
            key: torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor
            for key, tensor in state.items()
        }
        probe = _created_from(name, unknown, classes)
        weights = [t for _, t in probe.named_parameters()]
        statistics = [t for key, t in probe.named_buffers() if key.endswith(("_mean", "_var"))]
        if not all(bool(torch.isnan(tensor).all()) for tensor in weights + statistics):
            return None
        return _created_from(name, dict(state), classes)
    # What a conversion does to tensors of another network is not a closed list.
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, AssertionError):
        return None


def _created_from(name: str, state: StateDict, classes: int) -> Any:
    nowhere_else = dict.fromkeys(("url", "file", "hf_hub_id", "hf_hub_filename", "source"))
    overlay = {**nowhere_else, "state_dict": state, "num_classes": classes, "custom_load": False}
    network = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes
    )
    network.pretrained_cfg.pop("state_dict", None)
    return network
