"""From the name of an encoder to its spec, and to the encoder itself.

`describe` needs no torch unless the weights are torchvision's own; `load` computes, and so
imports what it needs only when called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec, Modality


def describe(reference: EncoderReference) -> EncoderSpec:
    """The spec of the named encoder, without loading its weights.

    Raises:
        EncoderNotFound: no such encoder, revision, layer or file, or of another modality.
        WeightsRefused: the files are there but cut off, incomplete or unsafe.
    """
    return family_of(reference).describe(reference)


def load(reference: EncoderReference) -> Encoder:
    """The named encoder, ready to encode, with `spec` equal to what `describe` says.

    Raises:
        EncoderNotFound, WeightsRefused: as `describe`, and where the weights do not fit.
        EncoderError: torch is missing or broken.
    """
    family = family_of(reference)
    spec = family.describe(reference)
    encoder = family.load(reference, spec)
    # Described once more: files replaced while they were being loaded are nobody's model.
    if not encoder.spec == spec == family.describe(reference):
        raise WeightsRefused(FILES_CHANGED, item=reference.name, retry=True)
    return encoder


def passage_splitter(reference: EncoderReference) -> Callable[[str], list[tuple[int, int]]]:
    """Cuts a text into the passages that get a row each: first character, and one past the last.

    As `encoders.passages.Passages`; needs no torch. Raises EncoderNotFound where the encoder
    gives a text one row, and as `describe`.
    """
    from commonspace.encoders.text.passages import passages_of_characters, passages_of_tokens

    spec = describe(reference)
    if spec.overflow != "rows" or spec.max_tokens is None:
        raise EncoderNotFound("gives each text one row, not its passages", item=reference.name)
    if spec.kind == "hashed":
        return passages_of_characters(spec.max_tokens)
    from commonspace.encoders.int8.record import is_int8_folder
    from commonspace.encoders.model_folder.location import find_model_folder
    from commonspace.encoders.model_folder.module_list import read_modules

    folder = find_model_folder(reference)
    place = folder if is_int8_folder(folder) else folder / read_modules(folder)[0].path
    return passages_of_tokens(place / "tokenizer.json", spec)


def probes(modality: Modality) -> list[Content]:
    """32 fixed contents whose vectors show a changed encoder.

    Raises:
        EncoderError: images are to be drawn, and Pillow is not installed.
    """
    if modality == "text":
        from commonspace.encoders.text.probes import text_probes

        return [*text_probes()]
    try:
        from commonspace.encoders.image.probes import image_probes
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"{error.name} is not installed",
            do=INSTALL_HINT,
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
    from commonspace.encoders.int8.quantise import write_int8

    spec = describe(reference)
    if spec.preprocessing.get("decoder") == "nvjpeg":
        raise EncoderError(
            "its images are decoded on a GPU, and int8 models compute on a CPU",
            item=reference.name,
            do="Name a space without a `decoder`.",
        )
    write_int8(reference, spec, folder, calibration)
    from commonspace.encoders.int8.fidelity import compare

    made = EncoderReference(str(folder), reference.modality)
    return {
        "folder": str(folder),
        "encoder": spec.label,
        "fingerprint": describe(made).fingerprint,
        "calibrated_on": len(calibration),
        **compare(load(reference), load(made), compared),
    }
