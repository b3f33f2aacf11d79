"""Loads a sentence-transformers model: which engine runs it, and with which batches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.selection import choose_engine
from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.errors import DeviceOutOfMemory, WeightsRefused, device_memory_error
from commonspace.encoders.model_folder.location import find_model_folder
from commonspace.encoders.protocol import Purpose
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.sentence.loaded_model import LoadedSentenceModel, load_sentence_model
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.encoder import Computation, TextEncoder
from commonspace.encoders.vectors import norm_failures

TORCH_CPU_BUDGET = 256
"""Padded tokens in a batch, which runs on one thread and is always filled: few, so that a single
query is fast."""
CUDA_BUDGET = 65_536
"""Padded tokens in a batch on a CUDA device."""


def load_sentence_encoder(
    reference: EncoderReference, spec: EncoderSpec, device: str
) -> TextEncoder:
    """Load the named model for `device`.

    Raises:
        WeightsRefused: as `load_sentence_model`, or the modules do not fit together.
        EncoderError: OpenVINO is to run the model and cannot.
    """
    # The tokenizer's threads hang in a forked child; on a CPU they gain only 1 %.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device != "cpu" else "false")
    folder = find_model_folder(reference)
    model = load_sentence_model(folder, spec)
    exact = model.engines(lambda network: TorchEngine(network, device))
    _require_vectors(exact["document"], model, spec, folder)
    if choose_engine(device) == "openvino":
        from commonspace.encoders.sentence.conversion import converted_encoder

        return converted_encoder(model, exact, spec, folder, reference)
    computation = _computation(model, exact, spec, device)
    return TextEncoder(spec, model.tokenizer, model.inputs, computation, device)


def _computation(
    model: LoadedSentenceModel, exact: Mapping[Purpose, Engine], spec: EncoderSpec, device: str
) -> Computation:
    if device == "cpu":  # there, half precision is slower than fp32, and less exact
        return Computation(exact, TORCH_CPU_BUDGET, fill=True)
    if spec.precision == "fp32":
        return Computation(exact, CUDA_BUDGET, fill=False)
    half = model.engines(lambda network: TorchEngine(network, device, spec.precision))
    return Computation(half, CUDA_BUDGET, fill=False, exact=exact)


def _require_vectors(
    engine: Engine, model: LoadedSentenceModel, spec: EncoderSpec, folder: Path
) -> None:
    """Encode the probe: all configuration may be consistent and yet not fit the weights."""
    try:
        (vectors,) = engine.run([model.probe])
    except DeviceOutOfMemory as error:
        raise device_memory_error("two texts") from error
    except (RuntimeError, IndexError) as error:
        raise WeightsRefused(
            "its modules do not fit together",
            item=str(folder),
            do="Copy or download the complete folder again.",
        ) from error
    if vectors.shape[1] != spec.dim:
        raise WeightsRefused(
            f"makes {vectors.shape[1]} dimensions, but its files say {spec.dim}",
            item=str(folder),
            do="Copy the configuration and the weights of the same model.",
        )
    for failure in norm_failures(vectors).values():  # weights of NaN, of zeros, or too large
        raise WeightsRefused(
            f"makes no usable vectors: {failure.message}",
            item=str(folder),
            do="Copy or download the weights again.",
        )
