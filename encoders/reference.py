"""How the owner of a space names its encoder: where to find it, not what its vectors mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, get_args

from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.spec import Precision


@dataclass(frozen=True)
class EncoderReference:
    """The name and options that `catalog.describe` and `catalog.load` take.

    Attributes:
        name: one of
            `hashed` or `hashed/<dim>`: weight-free feature hashing, for tests;
            `package:<module>`: the model folder inside an installed package;
            an absolute folder: a sentence-transformers, CLIP or int8 model on disk;
            `<owner>/<model>`: a sentence-transformers or CLIP model on the hub;
            `torchvision/<architecture>`: any classification network, `weights` required.
            `timm/<network>`: any network of timm, `weights` or `revision` required.
        modality: `text` or `image`; only `hashed` and CLIP models encode both.
        revision: models on the hub only, and required there: the 40 hex digits of a commit.
        weights: torchvision and timm only: an absolute path to a `.safetensors` or `.pth` file, or
            `untrained`; torchvision's own by a name such as `IMAGENET1K_V2`; for timm, those in an
            installed package by `package:<module>`.
        layer: torchvision only: the name of the module whose output is taken.
        pooling: torchvision only: `average` or `max` over that module's feature map.
        overflow: text only: `truncate` (the default), `mean` or `rows`, as in `EncoderSpec`.
        dimensions: text only: how many of a Matryoshka model's first dimensions are kept.
        precision: `fp32` (the default), `fp16` or `bf16`; an int8 model is a folder of its own.
        decoder: torchvision and timm only: `pillow` (the default), or `nvjpeg`, where a GPU decodes
            JPEG.
    """

    name: str
    modality: str
    _: KW_ONLY
    revision: str | None = None
    weights: str | None = None
    layer: str | None = None
    pooling: str | None = None
    overflow: str | None = None
    dimensions: int | None = None
    precision: str | None = None
    decoder: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Every field by its name, unset ones as None."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EncoderReference:
        """The reference that `to_json` wrote."""
        return cls(**value)


def precision_of(reference: EncoderReference) -> Precision:
    """The precision that the encoder computes in.

    Raises:
        EncoderNotFound: the reference names another one.
    """
    precisions: dict[str | None, Precision] = {None: "fp32"}
    precisions |= {name: name for name in get_args(Precision) if name != "int8"}
    if reference.precision not in precisions:
        raise EncoderNotFound(
            f"there is no precision {reference.precision!r}",
            item=reference.name,
            do="Set it to fp32, fp16 or bf16; `commonspace quantise` makes int8 models.",
        )
    return precisions[reference.precision]
