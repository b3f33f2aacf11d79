"""How the owner of a space names its encoder; where to find it, not what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class EncoderReference:
    """`catalog.describe` and `catalog.load` turn this into a spec and an encoder.

    name: one of
        `hashed` or `hashed/<dim>`: weight-free feature hashing, for tests;
        `package:<module>`: the model folder inside an installed package;
        an absolute folder: a sentence-transformers model on disk;
        `<owner>/<model>`: a sentence-transformers model on the hub, `revision` required;
        `torchvision/<architecture>`: resnet18/34/50/101/152, `weights` required.
    modality: `text` or `image`; only `hashed` serves both.
    weights: torchvision only: a weights name such as `IMAGENET1K_V2`, an absolute path to a
        `.safetensors` or `.pth` file, or `untrained`.
    """

    name: str
    modality: str
    revision: str | None = None
    weights: str | None = None
    layer: str = "penultimate"

    def to_json(self) -> dict[str, str | None]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, str | None]) -> EncoderReference:
        return cls(**value)  # type: ignore[arg-type]
