"""A sentence-transformers folder, loaded: which engine runs it, and with which batches."""

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
"""Padded tokens a batch, on one thread and always filled: small enough for a lone query."""
CUDA_BUDGET = 65_536


def load_sentence_encoder(
    reference: EncoderReference, spec: EncoderSpec, device: str
) -> TextEncoder:
    """Load the named model for `device`.

    Raises:
        WeightsRefused: as `load_sentence_model`, or modules that do not fit together.
        EncoderError: OpenVINO is to run the model and cannot.
    """
    # Threads of the tokenizer hang in a forked child; on a CPU they would gain 1 %.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device != "cpu" else "false")
    folder = find_model_folder(reference)
    parts = load_sentence_model(folder, spec)
    exact = parts.engines(lambda graph: TorchEngine(graph, device))
    _require_vectors(exact["document"], parts, spec, folder)
    if choose_engine(device) == "openvino":
        from commonspace.encoders.sentence.conversion import converted_encoder

        return converted_encoder(parts, exact, spec, folder, reference)
    computation = _computation(parts, exact, spec, device)
    return TextEncoder(spec, parts.tokens, parts.inputs, computation, device)


def _computation(
    parts: LoadedSentenceModel, exact: Mapping[Purpose, Engine], spec: EncoderSpec, device: str
) -> Computation:
    if device == "cpu":  # half precision is slower there than fp32, and worse
        return Computation(exact, TORCH_CPU_BUDGET, fill=True)
    if spec.precision == "fp32":
        return Computation(exact, CUDA_BUDGET, fill=False)
    half = parts.engines(lambda graph: TorchEngine(graph, device, spec.precision))
    return Computation(half, CUDA_BUDGET, fill=False, exact=exact)


def _require_vectors(
    engine: Engine, parts: LoadedSentenceModel, spec: EncoderSpec, folder: Path
) -> None:
    """Encode the probe. Configurations may agree with each other and not with the weights."""
    try:
        (vectors,) = engine.run([parts.probe])
    except DeviceOutOfMemory as error:
        raise device_memory_error("two texts") from error
    except (RuntimeError, IndexError) as error:
        raise WeightsRefused("its modules do not fit together", item=str(folder)) from error
    if vectors.shape[1] != spec.dim:
        raise WeightsRefused(
            f"makes {vectors.shape[1]} dimensions, its files say {spec.dim}", item=str(folder)
        )
    for failure in norm_failures(vectors).values():  # weights of NaN, of zeros, or too large
        raise WeightsRefused(
            f"makes no usable vectors: {failure.message}",
            item=str(folder),
            do="Copy or download the weights anew.",
        )
