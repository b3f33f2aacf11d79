"""encoders/sentence/parts.py"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.protocol import Purpose
from commonspace.encoders.sentence.embedding_network import TextEmbeddingNetwork
from commonspace.encoders.sentence.strict_loading import load_sentence_transformer
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.batches import Batch
from commonspace.encoders.text.model_inputs import TextInputs
from commonspace.encoders.text.tokenizer import TextTokenizer

PURPOSES: tuple[Purpose, ...] = ("document", "query")


@dataclass(frozen=True)
class LoadedSentenceModel:
    """A loaded model in pieces.

    graphs: by the number of prompt tokens that pooling leaves out; pooled_out: that number for
    each purpose; side: where long texts are cut.
    """

    graphs: Mapping[int, TextEmbeddingNetwork]
    pooled_out: Mapping[Purpose, int]
    tokenizer: Tokenizer
    tokens: TextTokenizer
    inputs: TextInputs
    side: str

    @property
    def probe(self) -> Arrays:
        """Two texts of unlike length, as a batch."""
        windows = [one.windows[0] for one in self.tokens(["probe", "a second, longer probe"])]
        width = max(len(window.ids) for window in windows)
        return self.inputs.arrays(Batch([0, 1], width, 2), windows)

    def engines(self, make: Callable[[TextEmbeddingNetwork], Engine]) -> dict[Purpose, Engine]:
        """An engine for each purpose; purposes that pool alike share one."""
        made = {length: make(graph) for length, graph in self.graphs.items()}
        return {purpose: made[length] for purpose, length in self.pooled_out.items()}


def load_sentence_model(folder: Path, spec: EncoderSpec) -> LoadedSentenceModel:
    """Load the model of `folder` into the CPU's memory.

    Raises:
        WeightsRefused: as `sentence_model.load_sentence_transformer`, or a tokenizer that cannot pad.
    """
    model = load_sentence_transformer(folder, spec, "cpu")
    tokenizer: Any = model.tokenizer
    if tokenizer.pad_token_id is None:
        raise WeightsRefused("the tokenizer has no padding token", item=str(folder))
    assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
    rust, side = tokenizer.backend_tokenizer, tokenizer.truncation_side
    tokens = TextTokenizer(rust, spec.max_tokens, side, spec.overflow)
    inputs = TextInputs(
        int(tokenizer.pad_token_id),
        tokenizer.padding_side == "left",
        "token_type_ids" in tokenizer.model_input_names,
    )
    pooled_out = dict.fromkeys(PURPOSES, 0)
    if not spec.preprocessing["pool_prompt"]:
        pooled_out = {p: tokens.prompt_length(spec.prompts[p]) for p in PURPOSES}
    graphs = {n: TextEmbeddingNetwork(model, spec, n).eval() for n in set(pooled_out.values())}
    return LoadedSentenceModel(graphs, pooled_out, rust, tokens, inputs, side)
