"""A loaded sentence-transformers model: its networks, its tokenizer and how its inputs are made."""

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
    """A loaded model.

    Attributes:
        networks: by the number of prompt tokens that pooling leaves out.
        pooled_out: that number for each purpose.
        rust_tokenizer: the model's own.
        tokenizer: what tokenises texts by it.
        inputs: how tokens are padded.
        side: at which end long texts are cut.
    """

    networks: Mapping[int, TextEmbeddingNetwork]
    pooled_out: Mapping[Purpose, int]
    rust_tokenizer: Tokenizer
    tokenizer: TextTokenizer
    inputs: TextInputs
    side: str

    @property
    def probe(self) -> Arrays:
        """A batch of two texts of different lengths."""
        windows = [text.windows[0] for text in self.tokenizer(["probe", "a second, longer probe"])]
        width = max(len(window.ids) for window in windows)
        return self.inputs.arrays(Batch([0, 1], width, 2), windows)

    def engines(self, make: Callable[[TextEmbeddingNetwork], Engine]) -> dict[Purpose, Engine]:
        """An engine for each purpose, made by `make`; purposes that pool alike share one."""
        by_length = {length: make(network) for length, network in self.networks.items()}
        return {purpose: by_length[length] for purpose, length in self.pooled_out.items()}


def load_sentence_model(folder: Path, spec: EncoderSpec) -> LoadedSentenceModel:
    """Load the model in `folder` into the CPU's memory.

    Raises:
        WeightsRefused: as `load_sentence_transformer`, or its tokenizer has no padding token.
    """
    model = load_sentence_transformer(folder, spec, "cpu")
    settings: Any = model.tokenizer
    if settings.pad_token_id is None:
        raise WeightsRefused(
            "the tokenizer has no padding token",
            item=str(folder),
            do="Set pad_token in tokenizer_config.json.",
        )
    assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
    side = settings.truncation_side
    tokenizer = TextTokenizer(settings.backend_tokenizer, spec.max_tokens, side, spec.overflow)
    inputs = TextInputs(
        int(settings.pad_token_id),
        settings.padding_side == "left",
        "token_type_ids" in settings.model_input_names,
    )
    pooled_out = dict.fromkeys(PURPOSES, 0)
    if not spec.preprocessing["pool_prompt"]:
        pooled_out = {p: tokenizer.prompt_length(spec.prompts[p]) for p in PURPOSES}
    return LoadedSentenceModel(
        networks={n: TextEmbeddingNetwork(model, spec, n).eval() for n in {*pooled_out.values()}},
        pooled_out=pooled_out,
        rust_tokenizer=settings.backend_tokenizer,
        tokenizer=tokenizer,
        inputs=inputs,
        side=side,
    )
