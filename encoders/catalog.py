"""From the name of an encoder to its spec, and to the encoder itself.

`describe` needs no torch unless the weights are torchvision's own; `load` computes, and so
imports what it needs only when called.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import EncoderError, EncoderNotFound, WeightsRefused
from encoders.protocol import Content, Encoder
from encoders.reference import EncoderReference
from encoders.spec import EncoderSpec, Modality
from encoders.torchvision_names import NETWORKS

_KNOWN = ("hashed", *(f"torchvision/{name}" for name in NETWORKS))
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
    from encoders.passages import passages_of_characters, passages_of_tokens

    spec = describe(reference)
    if spec.overflow != "rows" or spec.max_tokens is None:
        raise EncoderNotFound("gives each text one row, not its passages", item=reference.name)
    if spec.kind == "hashed":
        return passages_of_characters(spec.max_tokens)
    from encoders.int8_folder import is_int8
    from encoders.model_folder import find_folder
    from encoders.module_list import read_modules

    folder = find_folder(reference)
    place = folder if is_int8(folder) else folder / read_modules(folder)[0].path
    return passages_of_tokens(place / "tokenizer.json", spec)


def probes(modality: Modality) -> list[Content]:
    """32 fixed contents whose vectors show a changed encoder.

    Raises:
        EncoderError: images are to be drawn, and Pillow is not installed.
    """
    if modality == "text":
        from encoders.text_probes import text_probes

        return [*text_probes()]
    try:
        from encoders.image_probes import image_probes
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"{error.name} is not installed",
            do='Install it with: pip install "commonspace[encoders]".',
        ) from error
    return [*image_probes()]


def quantise(
    reference: EncoderReference,
    folder: Path,
    calibration: Sequence[Content],
    compared: Sequence[Content],
) -> dict[str, Any]:
    """Write an int8 model of the named encoder into `folder`, and compare the two.

    calibration: contents that decide its ranges; compared: others, that both encode.

    Raises:
        EncoderError: the encoder is of a kind that cannot be quantised, or NNCF is missing.
    """
    from encoders.quantise import write_int8

    spec = describe(reference)
    write_int8(reference, spec, folder, calibration)
    from encoders.fidelity import compare

    made = EncoderReference(str(folder), reference.modality)
    return {
        "folder": str(folder),
        "encoder": spec.label,
        "fingerprint": describe(made).fingerprint,
        "calibrated_on": len(calibration),
        **compare(load(reference), load(made), compared),
    }


def _family(reference: EncoderReference) -> _Family:
    family = _named(reference)
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


def _named(reference: EncoderReference) -> _Family:
    name = reference.name
    kind, _, rest = name.partition("/")
    if _HASHED_NAME.fullmatch(name):
        return _HASHED
    if kind == "torchvision" and rest in NETWORKS:
        return _TORCHVISION
    if Path(name).is_absolute() and (Path(name) / "int8.json").is_file():
        return _INT8
    if name.startswith("package:") or Path(name).is_absolute():
        return _CLIP_FOLDER if _holds_clip(reference) else _FOLDER
    bare = [known for known in _KNOWN if known == f"torchvision/{name}"]
    near = bare or difflib.get_close_matches(name, _KNOWN, n=3, cutoff=0.8)
    if _HUB_NAME.fullmatch(name) and kind not in ("hashed", "torchvision") and not near:
        return _CLIP_HUB if _holds_clip(reference) else _HUB
    raise EncoderNotFound(
        "no encoder of this name",
        item=name,
        do=(f"Did you mean {', '.join(near)}? " if near else "")
        + "There are torchvision/<architecture>, <owner>/<model> with a revision, "
        "package:<module>, an absolute folder, and hashed/<dim>.",
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


def _holds_clip(reference: EncoderReference) -> bool:
    """A folder of either kind may have any name: only its files tell."""
    from encoders.clip_folder import holds_clip
    from encoders.model_folder import find_folder

    return holds_clip(find_folder(reference))


def _describe_clip(reference: EncoderReference) -> EncoderSpec:
    from encoders.clip_folder import describe_clip
    from encoders.model_folder import find_folder

    modality: Modality = "text" if reference.modality == "text" else "image"
    return describe_clip(find_folder(reference), modality)


def _load_clip(reference: EncoderReference, spec: EncoderSpec) -> Encoder:
    from encoders.model_folder import find_folder
    from encoders.runtime import choose_device

    device = choose_device()
    from encoders.clip import ClipEncoder

    return ClipEncoder(find_folder(reference), spec, device)


def _describe_network(reference: EncoderReference) -> EncoderSpec:
    from encoders.torchvision_spec import describe_network

    return describe_network(reference)


def _load_network(reference: EncoderReference, spec: EncoderSpec) -> Encoder:
    from encoders.runtime import choose_device
    from encoders.torchvision_weights import weights_file

    device = choose_device()
    from encoders.torchvision_encoder import load_torchvision_encoder

    return load_torchvision_encoder(spec, weights_file(reference), device)


def _describe_int8(reference: EncoderReference) -> EncoderSpec:
    from encoders.int8_folder import describe_int8

    return describe_int8(Path(reference.name), reference)


def _load_int8(reference: EncoderReference, spec: EncoderSpec) -> Encoder:
    from encoders.int8_encoder import load_int8

    return load_int8(Path(reference.name), spec)


_SENTENCE = frozenset({"overflow", "dimensions", "precision"})
_HASHED = _Family(("text", "image"), frozenset({"overflow"}), _describe_hashed, _load_hashed)
_FOLDER = _Family(("text",), _SENTENCE, _describe_sentence, _load_sentence)
_HUB = _Family(("text",), _SENTENCE | {"revision"}, _describe_sentence, _load_sentence)
_CLIP_FOLDER = _Family(("image", "text"), frozenset(), _describe_clip, _load_clip)
_CLIP_HUB = _Family(("image", "text"), frozenset({"revision"}), _describe_clip, _load_clip)
_INT8 = _Family(("text", "image"), frozenset({"overflow"}), _describe_int8, _load_int8)
_TORCHVISION = _Family(
    ("image",),
    frozenset({"weights", "layer", "pooling", "precision"}),
    _describe_network,
    _load_network,
)
