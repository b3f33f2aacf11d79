"""The encoder that is written into the file: the one that was named, or one to begin with."""

from __future__ import annotations

import os
import re

from commonspace.encoders import catalog
from commonspace.encoders.defaults import DefaultEncoder, default_encoder, newest_revision
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import Modality

_HUB_NAME = re.compile(r"(?!(hashed|torchvision|timm)/)[\w.-]+/[\w.-]+", re.ASCII)
_IS_PATH = (".", "/", "~")


def choose_encoder(
    modality: Modality, name: str | None = None, weights: str | None = None
) -> DefaultEncoder:
    """The settings of an encoder, with a model of the hub pinned to its newest commit.

    Args:
        modality: what it encodes.
        name: as a collection file names it, paths relative to the working folder; None for one to
            begin with.
        weights: of a network, as a collection file names them.

    Raises:
        EncoderError: there is no such encoder, or none can be reached.
    """
    if name is None:
        return default_encoder(modality)
    if name.startswith(_IS_PATH):
        name = _absolute(name)
    if weights and weights.endswith((".safetensors", ".pth", ".pt")):
        weights = _absolute(weights)
    settings = {"encoder": name}
    if _HUB_NAME.fullmatch(name):
        settings["revision"] = newest_revision(name)
    else:
        catalog.describe(EncoderReference(name, modality, weights=weights))
    if weights:
        settings["weights"] = weights
    return DefaultEncoder(settings, "as asked for")


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - links stay
