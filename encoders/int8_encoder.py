"""Loading an int8 folder: OpenVINO and a tokenizer, no torch."""

from __future__ import annotations

import os
from pathlib import Path

from tokenizers import Tokenizer

from encoders.engine import Engine
from encoders.errors import INSTALL, EncoderError, WeightsRefused
from encoders.int8_folder import NETWORK, TOKENIZER, read_record
from encoders.protocol import Encoder, Purpose
from encoders.runtime import choose_threads
from encoders.spec import EncoderSpec
from encoders.text import Computation, TextEncoder
from encoders.text_tokens import TextTokens

BUDGET = 1024
"""Padded tokens a batch. Measured on 2 cores: 512 to 2,048 alike within the noise."""


def load_int8(folder: Path, spec: EncoderSpec) -> Encoder:
    """The encoder in `folder`, on the CPU whatever else there is.

    Raises:
        EncoderError: OpenVINO is not installed, or is told not to run.
        WeightsRefused: its files do not fit together.
    """
    try:
        from encoders.openvino_engine import OpenVinoEngine
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"{error.name} is not installed, and nothing else runs int8 models",
            item=str(folder),
            do=INSTALL,
        ) from error
    if os.environ.get("COMMONSPACE_ENGINE") == "torch":
        raise EncoderError(
            "COMMONSPACE_ENGINE is 'torch', which cannot run an int8 model",
            item=str(folder),
            do="Unset it.",
        )
    record = read_record(folder)
    try:
        engine = OpenVinoEngine(folder / NETWORK, choose_threads())
    except RuntimeError as error:
        raise WeightsRefused("OpenVINO cannot load its network", item=str(folder)) from error
    if record.inputs is None:
        from encoders.image import ImageEncoder

        return ImageEncoder(spec, engine, "cpu")
    assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokens = TextTokens(tokenizer, spec.max_tokens, record.side, spec.overflow)
    engines: dict[Purpose, Engine] = {"document": engine, "query": engine}
    return TextEncoder(spec, tokens, record.inputs, Computation(engines, BUDGET, fill=False), "cpu")
