"""From a loaded sentence-transformers model to the encoder that OpenVINO runs, kept on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.openvino_conversion import convert_to_openvino, require_close
from commonspace.encoders.errors import FILES_CHANGED, WeightsRefused
from commonspace.encoders.protocol import Purpose
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.sentence.converted_model import ConvertedModel
from commonspace.encoders.sentence.converted_model_cache import new_model_folder
from commonspace.encoders.sentence.loaded_model import LoadedSentenceModel
from commonspace.encoders.sentence.spec import describe_sentence
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.encoder import TextEncoder


def converted_encoder(
    parts: LoadedSentenceModel,
    exact: Mapping[Purpose, Engine],
    spec: EncoderSpec,
    folder: Path,
    reference: EncoderReference,
) -> TextEncoder:
    """The model as OpenVINO runs it, tried against `exact`, PyTorch running it.

    It is written and then loaded as every later process loads it: compiled from memory, the same
    network has other last bits. folder, reference: of the model that `parts` were loaded from.

    Raises:
        EncoderError: OpenVINO cannot express what the model does, or gives other vectors.
        WeightsRefused: the files changed while they were loaded: they are not what `spec` names.
    """
    item = str(folder)
    networks = {
        n: convert_to_openvino(graph, parts.probe, item) for n, graph in parts.graphs.items()
    }
    model, tokenizer = ConvertedModel(parts.pooled_out, parts.inputs, parts.side), parts.tokenizer
    with new_model_folder(
        spec, lambda place: model.write(place, networks, tokenizer.to_str())
    ) as place:
        engines = model.engines(place)
        for purpose, engine in engines.items():
            require_close(engine, exact[purpose], parts.probe, item)
        # Before it is kept: later processes would take it for the model that `spec` names.
        if describe_sentence(folder, reference) != spec:
            raise WeightsRefused(FILES_CHANGED, item=reference.name, retry=True)
        return model.encoder(place, spec, engines)
