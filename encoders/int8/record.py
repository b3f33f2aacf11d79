"""The record in the folder of an int8 model, and the spec that follows from it.

    int8.json        the record: the original's spec, how texts are padded, how it was made
    model.xml, .bin  the quantised network, as OpenVINO stores it
    tokenizer.json   of a text model

`quantise` writes the folder. Its vectors differ from those of the original model, so it is an
encoder of its own, with weights, a fingerprint and spaces of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.model_folder.digests import sha256_of
from commonspace.encoders.model_folder.json_files import read_json_object
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import TOLERANCE, EncoderSpec
from commonspace.encoders.text.model_inputs import TextInputs

RECORD = "int8.json"
NETWORK = "model.xml"
WEIGHTS = "model.bin"
TOKENIZER = "tokenizer.json"
FORMAT = 1


@dataclass(frozen=True)
class Int8Record:
    """What `int8.json` says; the fields are its keys.

    Attributes:
        source: the spec of the original model.
        files: sha256 of the other files, by name.
        recipe: how the model was quantised, and by which versions.
        inputs: how texts are padded; None of images.
        side: at which end texts are cut.
        fidelity: how close it came to the original.
    """

    source: EncoderSpec
    files: Mapping[str, str]
    recipe: Mapping[str, Any]
    inputs: TextInputs | None = None
    side: str = "right"
    fidelity: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """Write the record, with the digests of the files beside it."""
        names = [NETWORK, WEIGHTS, *([TOKENIZER] if self.inputs else [])]
        files = {name: sha256_of(folder / name) for name in names}
        record = {"format": FORMAT, **asdict(replace(self, files=files))}
        (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    @property
    def spec(self) -> EncoderSpec:
        """The spec of the int8 encoder."""
        return replace(
            self.source,
            weights=f"sha256:{self.files[WEIGHTS]}",
            files={name: digest for name, digest in self.files.items() if name != WEIGHTS},
            preprocessing={
                **self.source.preprocessing,
                **({"inputs": asdict(self.inputs), "cut": self.side} if self.inputs else {}),
                "quantised_from": self.source.fingerprint,
            },
            precision="int8",
            tolerance=TOLERANCE["int8"],
        )


def is_int8_folder(folder: Path) -> bool:
    """Whether `quantise` wrote this folder."""
    return (folder / RECORD).is_file()


def read_record(folder: Path) -> Int8Record:
    """The record in the folder, whose files are checked by their digests.

    Raises:
        EncoderNotFound: a file is missing.
        WeightsRefused: a file was changed, or the record cannot be read.
    """
    stored = dict(read_json_object(folder / RECORD))
    if stored.pop("format", None) != FORMAT:
        raise WeightsRefused(
            "the model was written by another version of commonspace",
            item=str(folder),
            do="Write it again with `commonspace quantise`.",
        )
    try:
        inputs = stored["inputs"]
        record = Int8Record(
            **{
                **stored,
                "source": EncoderSpec.from_json(stored["source"]),
                "inputs": inputs and TextInputs(**inputs),
            }
        )
        digests = {name: str(record.files[name]) for name in (NETWORK, WEIGHTS)}
        digests |= {TOKENIZER: str(record.files[TOKENIZER])} if inputs else {}
    except (TypeError, KeyError, AttributeError) as error:
        raise WeightsRefused(
            f"its record has missing or further keys: {error}",
            item=str(folder),
            do="Copy the folder again, or write it again with `commonspace quantise`.",
        ) from error
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise EncoderNotFound(
                f"the model folder lacks {name}",
                item=str(folder),
                do="Copy the folder again, with all of its files.",
            )
        if sha256_of(folder / name) != digest:
            raise WeightsRefused(
                f"{name} is not the file that was written",
                item=str(folder),
                do="Copy the folder again, or write it again with `commonspace quantise`.",
            )
    return record


def describe_int8(folder: Path, reference: EncoderReference) -> EncoderSpec:
    """The spec of the int8 model in `folder`, with the options of `reference`.

    Raises:
        EncoderNotFound: a file is missing, or the model has no such modality or overflow.
        WeightsRefused: a file was changed, or the record cannot be read.
    """
    spec = read_record(folder).spec
    if spec.modality != reference.modality:
        raise EncoderNotFound(
            f"encodes {spec.modality}, not {reference.modality!r}",
            item=reference.name,
            do="Name an encoder of this modality.",
        )
    if reference.overflow is None:
        return spec
    if spec.modality != "text" or reference.overflow not in ("truncate", "mean", "rows"):
        raise EncoderNotFound(
            f"has no overflow {reference.overflow!r}",
            item=reference.name,
            do="Remove `overflow`, or set it for texts to truncate, mean or rows.",
        )
    return replace(spec, overflow=reference.overflow)
