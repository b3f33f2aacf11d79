"""The kinds of encoders, and which names belong to each.

What describes or loads an encoder is imported inside the functions, so that naming one imports
neither torch nor a model library.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.protocol import Encoder, ImageLimits
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec, Modality
from commonspace.encoders.torchvision.architectures import NETWORKS

_KNOWN = ("hashed", *(f"torchvision/{name}" for name in NETWORKS))
_ALWAYS = {"name", "modality"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_TIMM_NETWORK = re.compile(r"\w[\w-]*(\.[\w.-]+)?", re.ASCII)
"""With or without the tag of its weights; only timm knows which there are."""
_HASHED_NAME = re.compile(r"hashed(/[0-9]{1,6})?")


@dataclass(frozen=True)
class Family:
    """How encoders of one kind are described and loaded, and which options they take.

    Attributes:
        modalities: what an encoder of this kind may encode.
        options: the fields of an `EncoderReference` that may be set beside `name` and `modality`.
        describe: the spec of the named encoder, without its weights.
        load: the encoder itself, for the spec that `describe` returned, and what decoding an
            image may cost.
    """

    modalities: tuple[Modality, ...]
    options: frozenset[str]
    describe: Callable[[EncoderReference], EncoderSpec]
    load: Callable[[EncoderReference, EncoderSpec, ImageLimits], Encoder]


def family_of(reference: EncoderReference) -> Family:
    """The family that the name belongs to, with the modality and the options checked.

    Raises:
        EncoderNotFound: there is no such encoder, or it takes no such modality or option.
        WeightsRefused: the named folder cannot be read as a model.
    """
    family = _family_by_name(reference)
    if reference.modality not in family.modalities:
        raise EncoderNotFound(
            f"encodes {' or '.join(family.modalities)}, not {reference.modality!r}",
            item=reference.name,
            do="Name an encoder of this modality.",
        )
    for option, value in reference.to_json().items():
        if option not in _ALWAYS and value is not None and option not in family.options:
            raise EncoderNotFound(
                f"takes no {option}, but {value!r} is given",
                item=reference.name,
                do=f"Remove `{option}`.",
            )
    return family


def _family_by_name(reference: EncoderReference) -> Family:
    name = reference.name
    kind, _, rest = name.partition("/")
    if _HASHED_NAME.fullmatch(name):
        return _HASHED
    if kind == "torchvision" and rest in NETWORKS:
        return _TORCHVISION
    if kind == "timm" and _TIMM_NETWORK.fullmatch(rest):
        return _TIMM
    if Path(name).is_absolute() and (Path(name) / "int8.json").is_file():
        return _INT8
    if name.startswith("package:") or Path(name).is_absolute():
        return _CLIP_FOLDER if _is_clip(reference) else _FOLDER
    without_prefix = [known for known in _KNOWN if known == f"torchvision/{name}"]
    near = without_prefix or difflib.get_close_matches(name, _KNOWN, n=3, cutoff=0.8)
    if _HUB_NAME.fullmatch(name) and kind not in ("hashed", "torchvision", "timm") and not near:
        return _CLIP_HUB if _is_clip(reference) else _HUB
    raise EncoderNotFound(
        "there is no encoder of this name",
        item=name,
        do=(f"Did you mean {', '.join(near)}? " if near else "")
        + "An encoder is named torchvision/<architecture>, timm/<network>, <owner>/<model> with a "
        "revision, package:<module>, hashed/<dim>, or by the absolute path of a folder.",
    )


def _describe_hashed(reference: EncoderReference) -> EncoderSpec:
    from commonspace.encoders.hashed import DEFAULT_DIM, LARGEST_DIM, hashed_spec

    dim = int(reference.name.partition("/")[2] or DEFAULT_DIM)
    if not 1 <= dim <= LARGEST_DIM:
        raise EncoderNotFound(
            f"dim must lie in 1..{LARGEST_DIM}",
            item=reference.name,
            do="Name it hashed/<dim>, such as hashed/256.",
        )
    if reference.overflow and (reference.overflow, reference.modality) != ("rows", "text"):
        raise EncoderNotFound(
            f"has no overflow {reference.overflow!r}: it reads contents of any length whole",
            item=reference.name,
            do='Remove `overflow`, or set it to "rows" if the contents are texts.',
        )
    modality: Modality = "text" if reference.modality == "text" else "image"
    return hashed_spec(dim, modality, passages=reference.overflow == "rows")


def _load_hashed(_: EncoderReference, spec: EncoderSpec, __: ImageLimits) -> Encoder:
    from commonspace.encoders.hashed import HashedEncoder

    return HashedEncoder(spec.dim, spec.modality, passages=spec.overflow == "rows")


def _describe_sentence(reference: EncoderReference) -> EncoderSpec:
    from commonspace.encoders.model_folder.location import find_model_folder
    from commonspace.encoders.sentence.spec import describe_sentence

    return describe_sentence(find_model_folder(reference), reference)


def _load_sentence(reference: EncoderReference, spec: EncoderSpec, _: ImageLimits) -> Encoder:
    from commonspace.encoders.engines.selection import choose_device, uses_openvino

    if uses_openvino():
        from commonspace.encoders.sentence.converted_model import cached_encoder

        if (encoder := cached_encoder(spec)) is not None:
            return encoder
    device = choose_device()  # before the imports that need torch: its error says what is missing
    from commonspace.encoders.sentence.encoder import load_sentence_encoder

    return load_sentence_encoder(reference, spec, device)


def _is_clip(reference: EncoderReference) -> bool:
    """Whether the model is CLIP: names do not say, so its files are read."""
    from commonspace.encoders.clip.recognition import is_clip_folder
    from commonspace.encoders.model_folder.location import find_model_folder

    return is_clip_folder(find_model_folder(reference))


def _describe_clip(reference: EncoderReference) -> EncoderSpec:
    from commonspace.encoders.clip.spec import describe_clip
    from commonspace.encoders.model_folder.location import find_model_folder

    modality: Modality = "text" if reference.modality == "text" else "image"
    return describe_clip(find_model_folder(reference), modality)


def _load_clip(reference: EncoderReference, spec: EncoderSpec, limits: ImageLimits) -> Encoder:
    from commonspace.encoders.engines.selection import choose_device
    from commonspace.encoders.model_folder.location import find_model_folder

    device = choose_device()
    from commonspace.encoders.clip.encoder import ClipEncoder

    return ClipEncoder(find_model_folder(reference), spec, device, limits)


def _describe_network(reference: EncoderReference) -> EncoderSpec:
    from commonspace.encoders.torchvision.spec import describe_network

    return describe_network(reference)


def _load_network(reference: EncoderReference, spec: EncoderSpec, limits: ImageLimits) -> Encoder:
    from commonspace.encoders.engines.selection import choose_device

    if (encoder := _converted_network(spec, limits)) is not None:
        return encoder
    device = choose_device()
    from commonspace.encoders.torchvision.encoder import load_torchvision_encoder

    return load_torchvision_encoder(spec, reference, device, limits)


def _converted_network(spec: EncoderSpec, limits: ImageLimits) -> Encoder | None:
    """The encoder of a network that this machine has converted before, if OpenVINO is to run it."""
    from commonspace.encoders.engines.selection import uses_openvino

    if spec.preprocessing["decoder"] == "nvjpeg" or not uses_openvino():
        return None
    from commonspace.encoders.image_network.converted_network import cached_encoder

    return cached_encoder(spec, limits)


def _describe_timm(reference: EncoderReference) -> EncoderSpec:
    from commonspace.encoders.timm.spec import describe_timm

    return describe_timm(reference)


def _load_timm(reference: EncoderReference, spec: EncoderSpec, limits: ImageLimits) -> Encoder:
    from commonspace.encoders.engines.selection import choose_device

    if (encoder := _converted_network(spec, limits)) is not None:
        return encoder
    device = choose_device()
    from commonspace.encoders.timm.encoder import load_timm_encoder

    return load_timm_encoder(spec, reference, device, limits)


def _describe_int8(reference: EncoderReference) -> EncoderSpec:
    from commonspace.encoders.int8.record import describe_int8

    return describe_int8(Path(reference.name), reference)


def _load_int8(reference: EncoderReference, spec: EncoderSpec, limits: ImageLimits) -> Encoder:
    from commonspace.encoders.int8.encoder import load_int8

    return load_int8(Path(reference.name), spec, limits)


_SENTENCE = frozenset({"overflow", "dimensions", "precision"})
_HASHED = Family(("text", "image"), frozenset({"overflow"}), _describe_hashed, _load_hashed)
_FOLDER = Family(("text",), _SENTENCE, _describe_sentence, _load_sentence)
_HUB = Family(("text",), _SENTENCE | {"revision"}, _describe_sentence, _load_sentence)
_CLIP_FOLDER = Family(("image", "text"), frozenset(), _describe_clip, _load_clip)
_CLIP_HUB = Family(("image", "text"), frozenset({"revision"}), _describe_clip, _load_clip)
_INT8 = Family(("text", "image"), frozenset({"overflow"}), _describe_int8, _load_int8)
_TORCHVISION = Family(
    ("image",),
    frozenset({"weights", "layer", "pooling", "precision", "decoder"}),
    _describe_network,
    _load_network,
)
_TIMM = Family(
    ("image",),
    frozenset({"weights", "revision", "precision", "decoder"}),
    _describe_timm,
    _load_timm,
)
