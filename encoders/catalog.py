"""From the name of an encoder to its spec, and to the encoder itself.

`describe` needs no torch unless the weights are torchvision's own; `load` computes, and so
imports what it needs only when called.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import EncoderNotFound, WeightsRefused
from encoders.protocol import Encoder
from encoders.reference import EncoderReference
from encoders.spec import EncoderSpec, Modality

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_KNOWN = ("hashed", *(f"torchvision/{name}" for name in RESNETS))
_ALWAYS = {"name", "modality"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_HASHED_NAME = re.compile(r"hashed(/[0-9]{1,6})?")


@dataclass(frozen=True)
class _Family:
    """How encoders of one kind are described and loaded, and which options they take."""

    modalities: tuple[Modality, ...]
    options: frozenset[str]
    describe: Callable[[EncoderReference], EncoderSpec]
    load: Callable[[EncoderReference, EncoderSpec], Encoder]


def describe(reference: EncoderReference) -> EncoderSpec:
    """The spec of the named encoder, without loading its weights.

    Raises:
        EncoderNotFound: no such encoder, revision, layer or file, or of another modality.
        WeightsRefused: the files are there but cut off, incomplete or unsafe.
    """
    return _family(reference).describe(reference)


def load(reference: EncoderReference) -> Encoder:
    """The named encoder, ready to encode, with `spec` equal to what `describe` says.

    Raises:
        EncoderNotFound, WeightsRefused: as `describe`, and where the weights do not fit.
        EncoderError: torch is missing or broken.
    """
    family = _family(reference)
    spec = family.describe(reference)
    encoder = family.load(reference, spec)
    # Described once more: files replaced while they were being loaded are nobody's model.
    if not encoder.spec == spec == family.describe(reference):
        raise WeightsRefused(
            "the model's files changed while it was loaded", item=reference.name, retry=True
        )
    return encoder


def splitter(reference: EncoderReference) -> Callable[[str], list[tuple[int, int]]]:
    """Cuts a text into the passages that get a row each: first character, and one past the last.

    As `encoders.passages.Passages`; needs no torch. Raises EncoderNotFound where the encoder
    gives a text one row, and as `describe`.
    """
    from encoders.passages import passages_of_characters, passages_of_model

    spec = describe(reference)
    if spec.overflow != "rows" or spec.max_tokens is None:
        raise EncoderNotFound("gives each text one row, not its passages", item=reference.name)
    if spec.kind == "hashed":
        return passages_of_characters(spec.max_tokens)
    from encoders.model_folder import find_folder

    return passages_of_model(find_folder(reference), spec)


def _family(reference: EncoderReference) -> _Family:
    family = _named(reference.name)
    if reference.modality not in family.modalities:
        raise EncoderNotFound(
            f"encodes {' or '.join(family.modalities)}, not {reference.modality!r}",
            item=reference.name,
        )
    for option, value in reference.to_json().items():
        if option not in _ALWAYS and value is not None and option not in family.options:
            raise EncoderNotFound(
                f"takes no {option}, but {value!r} is given",
                item=reference.name,
                do=f"Remove `{option}`.",
            )
    return family


def _named(name: str) -> _Family:
    kind, _, rest = name.partition("/")
    if _HASHED_NAME.fullmatch(name):
        return _HASHED
    if kind == "torchvision" and rest in RESNETS:
        return _TORCHVISION
    if name.startswith("package:") or Path(name).is_absolute():
        return _FOLDER
    near = difflib.get_close_matches(name, _KNOWN, n=3, cutoff=0.8)
    if _HUB_NAME.fullmatch(name) and kind not in ("hashed", "torchvision") and not near:
        return _HUB
    raise EncoderNotFound(
        "no encoder of this name",
        item=name,
        do=(f"Did you mean {', '.join(near)}? " if near else "")
        + f"There are {', '.join(_KNOWN)}, hashed/<dim>, package:<module>, "
        "an absolute folder, and <owner>/<model> with a revision.",
    )


def _describe_hashed(reference: EncoderReference) -> EncoderSpec:
    from encoders.hashed import DEFAULT_DIM, LARGEST_DIM, hashed_spec

    dim = int(reference.name.partition("/")[2] or DEFAULT_DIM)
    if not 1 <= dim <= LARGEST_DIM:
        raise EncoderNotFound(f"dim must lie in 1..{LARGEST_DIM}", item=reference.name)
    if reference.overflow and (reference.overflow, reference.modality) != ("rows", "text"):
        raise EncoderNotFound(
            f"has no overflow {reference.overflow!r}: it reads a content of any length whole",
            item=reference.name,
            do='Remove `overflow`; of texts it may be "rows".',
        )
    modality: Modality = "text" if reference.modality == "text" else "image"
    return hashed_spec(dim, modality, passages=reference.overflow == "rows")


def _load_hashed(_: EncoderReference, spec: EncoderSpec) -> Encoder:
    from encoders.hashed import HashedEncoder

    return HashedEncoder(spec.dim, spec.modality, passages=spec.overflow == "rows")


def _describe_sentence(reference: EncoderReference) -> EncoderSpec:
    from encoders.model_folder import find_folder
    from encoders.sentence_folder import describe_folder

    return describe_folder(find_folder(reference), reference)


def _load_sentence(reference: EncoderReference, spec: EncoderSpec) -> Encoder:
    from encoders.model_folder import find_folder
    from encoders.runtime import choose_device

    device = choose_device()  # says in words where torch is missing, before anything needs it
    from encoders.sentence_encoder import load_sentence_encoder

    return load_sentence_encoder(find_folder(reference), spec, device)


def _describe_resnet(reference: EncoderReference) -> EncoderSpec:
    from encoders.resnet_weights import describe_resnet

    return describe_resnet(reference)


def _load_resnet(reference: EncoderReference, spec: EncoderSpec) -> Encoder:
    from encoders.resnet_weights import weights_file
    from encoders.runtime import choose_device

    device = choose_device()
    from encoders.image import ImageEncoder

    return ImageEncoder(spec, weights_file(reference), device)


_SENTENCE = frozenset({"overflow", "dimensions", "precision"})
_HASHED = _Family(("text", "image"), frozenset({"overflow"}), _describe_hashed, _load_hashed)
_FOLDER = _Family(("text",), _SENTENCE, _describe_sentence, _load_sentence)
_HUB = _Family(("text",), _SENTENCE | {"revision"}, _describe_sentence, _load_sentence)
_TORCHVISION = _Family(
    ("image",),
    frozenset({"weights", "layer", "pooling", "precision"}),
    _describe_resnet,
    _load_resnet,
)
