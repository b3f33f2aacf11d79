"""A folder that holds an int8 model: what is in it, and the spec that its files make.

    int8.json       the record below: the spec, how texts are padded, how it was made
    model.xml, .bin the quantised network, as OpenVINO stores it
    tokenizer.json  of a text model

`quantise` writes it. The numbers differ from those of the model it was made from, so it is an
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
    """What `int8.json` says.

    source: the spec of the model it was made from; inputs, side: for texts, how they are
    padded and where they are cut; recipe: what made it; fidelity: how near it came.
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
    """The record of the folder, its files proved by their digests.

    Raises:
        EncoderNotFound: a file is missing.
        WeightsRefused: a file is not the one that was written, or the record cannot be read.
    """
    stored = dict(read_json_object(folder / RECORD))
    if stored.pop("format", None) != FORMAT:
        raise WeightsRefused("written by another version of commonspace", item=str(folder))
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
        raise WeightsRefused(f"its record lacks or adds {error}", item=str(folder)) from error
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise EncoderNotFound(f"the model folder lacks {name}", item=str(folder))
        if sha256_of(folder / name) != digest:
            raise WeightsRefused(
                f"{name} is not the file that was written",
                item=str(folder),
                do="Copy the folder anew, or make it anew with `commonspace quantise`.",
            )
    return record


def describe_int8(folder: Path, reference: EncoderReference) -> EncoderSpec:
    """The spec of the int8 model in `folder`. Raises as `read_record`."""
    spec = read_record(folder).spec
    if spec.modality != reference.modality:
        raise EncoderNotFound(
            f"encodes {spec.modality}, not {reference.modality!r}", item=reference.name
        )
    if reference.overflow is None:
        return spec
    if spec.modality != "text" or reference.overflow not in ("truncate", "mean", "rows"):
        raise EncoderNotFound(f"has no overflow {reference.overflow!r}", item=reference.name)
    return replace(spec, overflow=reference.overflow)
