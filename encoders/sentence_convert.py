"""From a loaded sentence-transformers model to the encoder that OpenVINO runs, kept on disk."""

from __future__ import annotations

from collections.abc import Mapping

from encoders.converted_model import ConvertedModel
from encoders.engine import Engine
from encoders.model_cache import room
from encoders.openvino_convert import convert, require_close
from encoders.protocol import Purpose
from encoders.sentence_encoder import SentenceParts
from encoders.spec import EncoderSpec
from encoders.text import TextEncoder


def converted_encoder(
    parts: SentenceParts, exact: Mapping[Purpose, Engine], spec: EncoderSpec, item: str
) -> TextEncoder:
    """The model as OpenVINO runs it, tried against `exact`, PyTorch running it.

    It is written and then loaded as every later process loads it: compiled from memory, the same
    network has other last bits.

    Raises:
        EncoderError: OpenVINO cannot express what the model does, or gives other vectors.
    """
    networks = {n: convert(graph, parts.probe, item) for n, graph in parts.graphs.items()}
    model = ConvertedModel(parts.pooled_out, parts.inputs, parts.side)
    with room(spec) as folder:
        model.write(folder, networks, parts.tokenizer.to_str())
        engines = model.engines(folder)
        for purpose, engine in engines.items():
            require_close(engine, exact[purpose], parts.probe, item)
        return model.encoder(folder, spec, engines)
