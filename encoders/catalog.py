"""From the name of an encoder to its spec, and to the encoder itself.

`describe` needs no torch unless torchvision or timm has to be asked for weights or shapes. What
computes is imported inside the functions, so that this module loads fast and without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import (
    FILES_CHANGED,
    INSTALL_HINT,
    EncoderError,
    EncoderNotFound,
    WeightsRefused,
)
from commonspace.encoders.families import family_of
from commonspace.encoders.protocol import IMAGE_LIMITS, Content, Encoder, ImageLimits
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec, Modality


def describe(reference: EncoderReference) -> EncoderSpec:
    """The spec of the named encoder, without loading its weights.

    Raises:
        EncoderNotFound: there is no such encoder, revision, layer or file, or it encodes another
            modality.
        WeightsRefused: the files exist but are cut off, incomplete or unsafe.
    """
    with _naming_what_is_missing(reference.name):
        return family_of(reference).describe(reference)


def load(reference: EncoderReference, *, image_limits: ImageLimits = IMAGE_LIMITS) -> Encoder:
    """The named encoder, ready to encode, with `spec` equal to what `describe` returns.

    Args:
        reference: its name and options.
        image_limits: what decoding an image may cost; an image beyond is a failure.

    Raises:
        EncoderNotFound, WeightsRefused: as `describe`, or the weights do not fit the network.
        EncoderError: torch is missing or broken.
    """
    with _naming_what_is_missing(reference.name):
        family = family_of(reference)
        spec = family.describe(reference)
        encoder = family.load(reference, spec, image_limits)
        # Described again: if files were replaced during the load, the weights may match no spec.
        if not encoder.spec == spec == family.describe(reference):
            raise WeightsRefused(FILES_CHANGED, item=reference.name, retry=True)
        return encoder


def passage_splitter(reference: EncoderReference) -> Callable[[str], list[tuple[int, int]]]:
    """The function that cuts a text into the passages that get a row each; needs no torch.

    It returns the span of each passage: its first character, and one past its last.

    Raises:
        EncoderNotFound: the encoder gives each text one row; or as `describe`.
        WeightsRefused: as `describe`, or the model has no usable tokenizer.json.
    """
    from commonspace.encoders.text.passages import (
        character_passage_splitter,
        token_passage_splitter,
    )

    spec = describe(reference)
    if spec.overflow != "rows" or spec.max_tokens is None:
        raise EncoderNotFound(
            "gives each text one row, so it has no passages",
            item=reference.name,
            do='Set `overflow = "rows"` to give each passage a row.',
        )
    if spec.kind == "hashed":
        return character_passage_splitter(spec.max_tokens)
    from commonspace.encoders.int8.record import is_int8_folder
    from commonspace.encoders.model_folder.location import find_model_folder
    from commonspace.encoders.model_folder.module_list import read_modules

    folder = find_model_folder(reference)
    tokenizer_folder = folder if is_int8_folder(folder) else folder / read_modules(folder)[0].path
    return token_passage_splitter(tokenizer_folder / "tokenizer.json", spec)


def probes(modality: Modality) -> list[Content]:
    """32 fixed contents whose vectors show whether an encoder has changed.

    Raises:
        EncoderError: the probes are images, and Pillow is not installed.
    """
    if modality == "text":
        from commonspace.encoders.text.probes import text_probes

        return [*text_probes()]
    with _naming_what_is_missing():
        from commonspace.encoders.image.probes import image_probes
    return [*image_probes()]


def quantise(
    reference: EncoderReference,
    folder: Path,
    calibration: Sequence[Content],
    compared: Sequence[Content],
) -> dict[str, Any]:
    """Write an int8 model of the named encoder into `folder`, and compare the two.

    Args:
        reference: the encoder to quantise.
        folder: where to write the int8 model; it must not exist yet.
        calibration: contents that set the ranges of its 8-bit numbers.
        compared: other contents, which both encoders encode.

    Returns:
        the folder, the fingerprint of the int8 encoder, how close its vectors come to the
        original's and how much faster it is, with the keys that `commonspace quantise` prints.

    Raises:
        EncoderNotFound: the folder exists already; or as `describe`.
        EncoderError: the encoder is of a kind that cannot be quantised, or NNCF is missing.
    """
    from commonspace.encoders.int8.quantise import write_int8

    spec = describe(reference)
    if spec.preprocessing.get("decoder") == "nvjpeg":
        raise EncoderError(
            "its images are decoded on a GPU, but int8 models compute on a CPU",
            item=reference.name,
            do="Name a space without a `decoder`.",
        )
    write_int8(reference, spec, folder, calibration)
    from commonspace.encoders.int8.fidelity import compare

    quantised = EncoderReference(str(folder), reference.modality)
    return {
        "folder": str(folder),
        "encoder": spec.label,
        "fingerprint": describe(quantised).fingerprint,
        "calibrated_on": len(calibration),
        **compare(load(reference), load(quantised), compared),
    }


@contextmanager
def _naming_what_is_missing(item: str | None = None) -> Iterator[None]:
    """Turns the import of a library that is not installed into an EncoderError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("commonspace"):
            raise
        raise EncoderError(f"{error.name} is not installed", item=item, do=INSTALL_HINT) from error
