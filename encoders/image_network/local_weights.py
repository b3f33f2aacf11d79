"""The weights of a network where they need no library: in a file, or random ones."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from commonspace.encoders.errors import INSTALL_HINT, EncoderError, EncoderNotFound
from commonspace.encoders.model_folder.safetensors import require_complete
from commonspace.encoders.reference import EncoderReference

UNTRAINED = "untrained"
"""What a reference names for random weights."""
SEED = 0
"""Of the random weights; part of their specs."""


def local_weights(reference: EncoderReference, *, otherwise: str) -> Path:
    """The file that `weights` names by its absolute path.

    Args:
        reference: of the network.
        otherwise: what else may be set, for the error where `weights` is no such path.

    Raises:
        EncoderNotFound: no weights are named, or there are none.
        WeightsRefused: the file is cut off.
    """
    weights = reference.weights
    path = Path(weights or "")
    if not weights or not path.is_absolute() or path.suffix not in (".safetensors", ".pth"):
        raise EncoderNotFound(
            f"there are no weights {weights!r}" if weights else "no weights are named",
            item=reference.name,
            do=otherwise,
        )
    if not path.is_file():
        raise EncoderNotFound(
            "there is no such weights file", item=weights, do="Correct the path in `weights`."
        )
    if path.suffix == ".safetensors":
        require_complete(path)
    return path


def untrained_label(libraries: Sequence[str]) -> str:
    """What takes the place of a digest in the spec of a network with random weights.

    Args:
        libraries: the distributions whose versions decide the random numbers.

    Raises:
        EncoderError: one of them is not installed.
    """
    versions = []
    for library in libraries:
        try:
            version = importlib.metadata.version(library).partition("+")[0]
        except importlib.metadata.PackageNotFoundError as error:
            raise EncoderError(f"{library} is not installed", do=INSTALL_HINT) from error
        versions.append(f"{library}={version}")
    return f"{UNTRAINED}:seed={SEED},{','.join(versions)}"
