"""Loads an int8 model: OpenVINO and a tokenizer, without torch."""

from __future__ import annotations

import os
from pathlib import Path

from tokenizers import Tokenizer

from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.errors import INSTALL_HINT, EncoderError, WeightsRefused
from commonspace.encoders.int8.record import NETWORK, TOKENIZER, read_record
from commonspace.encoders.protocol import IMAGE_LIMITS, Encoder, ImageLimits, Purpose
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.encoder import Computation, TextEncoder
from commonspace.encoders.text.tokenizer import TextTokenizer

BUDGET = 1024
"""Padded tokens in a batch. Measured on 2 cores: 512 to 2,048 alike within the noise."""


def load_int8(folder: Path, spec: EncoderSpec, limits: ImageLimits = IMAGE_LIMITS) -> Encoder:
    """The encoder in `folder`; it computes on the CPU whatever the machine has.

    Decoding an image may cost `limits`.

    Raises:
        EncoderError: OpenVINO is not installed, or COMMONSPACE_ENGINE forbids it.
        EncoderNotFound: a file is missing.
        WeightsRefused: a file was changed, or OpenVINO cannot load the network.
    """
    try:
        from commonspace.encoders.engines.openvino_engine import OpenVinoEngine
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"{error.name} is not installed, and nothing else runs int8 models",
            item=str(folder),
            do=INSTALL_HINT,
        ) from error
    if os.environ.get("COMMONSPACE_ENGINE") == "torch":
        raise EncoderError(
            "COMMONSPACE_ENGINE is 'torch', which cannot run an int8 model",
            item=str(folder),
            do="Unset it, or set it to openvino.",
        )
    record = read_record(folder)
    try:
        engine = OpenVinoEngine(folder / NETWORK, choose_threads())
    except RuntimeError as error:
        raise WeightsRefused(
            "OpenVINO cannot load its network",
            item=str(folder),
            do="Write the model again with `commonspace quantise`.",
        ) from error
    if record.inputs is None:
        from commonspace.encoders.image.encoder import ImageEncoder

        return ImageEncoder(spec, engine, "cpu", limits=limits)
    assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokens = TextTokenizer(tokenizer, spec.max_tokens, record.side, spec.overflow)
    engines: dict[Purpose, Engine] = {"document": engine, "query": engine}
    return TextEncoder(spec, tokens, record.inputs, Computation(engines, BUDGET, fill=False), "cpu")
