"""Converts a loaded sentence-transformers model to OpenVINO, and keeps the result in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from commonspace.encoders.converted.cache import new_model_folder
from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.openvino_conversion import (
    convert_to_openvino,
    require_openvino_agrees,
)
from commonspace.encoders.errors import FILES_CHANGED, WeightsRefused
from commonspace.encoders.protocol import Purpose
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.sentence.converted_model import ConvertedModel
from commonspace.encoders.sentence.loaded_model import LoadedSentenceModel
from commonspace.encoders.sentence.spec import describe_sentence
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.encoder import TextEncoder


def converted_encoder(
    model: LoadedSentenceModel,
    exact: Mapping[Purpose, Engine],
    spec: EncoderSpec,
    folder: Path,
    reference: EncoderReference,
) -> TextEncoder:
    """The encoder by which OpenVINO runs the model, compared with PyTorch.

    It is written and then loaded as later processes will load it: compiled from memory, the same
    network would have other last bits.

    Args:
        model: the loaded model.
        exact: the engines by which PyTorch runs it.
        spec: of the model.
        folder: that the model was loaded from.
        reference: that named the folder.

    Raises:
        EncoderError: OpenVINO cannot convert the model, or computes other vectors.
        WeightsRefused: the files changed while they were loaded, and no longer match `spec`.
    """
    item = str(folder)
    networks = {
        length: convert_to_openvino(network, model.probe, item)
        for length, network in model.networks.items()
    }
    converted = ConvertedModel(model.pooled_out, model.inputs, model.side)
    tokenizer = model.rust_tokenizer.to_str()
    with new_model_folder(
        spec, lambda new_folder: converted.write(new_folder, networks, tokenizer)
    ) as new_folder:
        engines = converted.engines(new_folder)
        for purpose, engine in engines.items():
            require_openvino_agrees(engine, exact[purpose], model.probe, item)
        # Before it is kept: later processes would take it for the model that `spec` names.
        if describe_sentence(folder, reference) != spec:
            raise WeightsRefused(FILES_CHANGED, item=reference.name, retry=True)
        return converted.encoder(new_folder, spec, engines)
