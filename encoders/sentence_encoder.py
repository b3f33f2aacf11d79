"""A sentence-transformers folder, loaded: which engine runs it, and with which batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from encoders.engine import Arrays, Engine
from encoders.errors import DeviceFull, WeightsRefused, no_memory
from encoders.length_batches import Batch
from encoders.model_folder import find_folder
from encoders.protocol import Purpose
from encoders.reference import EncoderReference
from encoders.runtime import choose_engine
from encoders.sentence_model import load_model
from encoders.spec import EncoderSpec
from encoders.text import Computation, TextEncoder
from encoders.text_graph import TextGraph
from encoders.text_inputs import TextInputs
from encoders.text_tokens import TextTokens
from encoders.torch_engine import TorchEngine
from encoders.unit_rows import unit_failures

TORCH_CPU_BUDGET = 256
"""Padded tokens a batch, on one thread and always filled: small enough for a lone query."""
CUDA_BUDGET = 65_536

PURPOSES: tuple[Purpose, ...] = ("document", "query")


@dataclass(frozen=True)
class SentenceParts:
    """A loaded model in pieces.

    graphs: by the number of prompt tokens that pooling leaves out; pooled_out: that number for
    each purpose; side: where long texts are cut.
    """

    graphs: Mapping[int, TextGraph]
    pooled_out: Mapping[Purpose, int]
    tokenizer: Tokenizer
    tokens: TextTokens
    inputs: TextInputs
    side: str

    @property
    def probe(self) -> Arrays:
        """Two texts of unlike length, as a batch."""
        windows = [one.windows[0] for one in self.tokens(["probe", "a second, longer probe"])]
        width = max(len(window.ids) for window in windows)
        return self.inputs.arrays(Batch([0, 1], width, 2), windows)

    def engines(self, make: Callable[[TextGraph], Engine]) -> dict[Purpose, Engine]:
        """An engine for each purpose; purposes that pool alike share one."""
        made = {length: make(graph) for length, graph in self.graphs.items()}
        return {purpose: made[length] for purpose, length in self.pooled_out.items()}


def load_sentence_encoder(
    reference: EncoderReference, spec: EncoderSpec, device: str
) -> TextEncoder:
    """Load the named model for `device`.

    Raises:
        WeightsRefused: as `sentence_parts`, or modules that do not fit together.
        EncoderError: OpenVINO is to run the model and cannot.
    """
    # Threads of the tokenizer hang in a forked child; on a CPU they would gain 1 %.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device != "cpu" else "false")
    folder = find_folder(reference)
    parts = sentence_parts(folder, spec)
    exact = parts.engines(lambda graph: TorchEngine(graph, device))
    _require_vectors(exact["document"], parts, spec, folder)
    if choose_engine(device) == "openvino":
        from encoders.sentence_convert import converted_encoder

        return converted_encoder(parts, exact, spec, folder, reference)
    computation = _computation(parts, exact, spec, device)
    return TextEncoder(spec, parts.tokens, parts.inputs, computation, device)


def sentence_parts(folder: Path, spec: EncoderSpec) -> SentenceParts:
    """Load the model of `folder` into the CPU's memory.

    Raises:
        WeightsRefused: as `sentence_model.load_model`, or a tokenizer that cannot pad.
    """
    model = load_model(folder, spec, "cpu")
    tokenizer: Any = model.tokenizer
    if tokenizer.pad_token_id is None:
        raise WeightsRefused("the tokenizer has no padding token", item=str(folder))
    assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
    rust, side = tokenizer.backend_tokenizer, tokenizer.truncation_side
    tokens = TextTokens(rust, spec.max_tokens, side, spec.overflow)
    inputs = TextInputs(
        int(tokenizer.pad_token_id),
        tokenizer.padding_side == "left",
        "token_type_ids" in tokenizer.model_input_names,
    )
    pooled_out = dict.fromkeys(PURPOSES, 0)
    if not spec.preprocessing["pool_prompt"]:
        pooled_out = {p: tokens.prompt_length(spec.prompts[p]) for p in PURPOSES}
    graphs = {n: TextGraph(model, spec, n).eval() for n in set(pooled_out.values())}
    return SentenceParts(graphs, pooled_out, rust, tokens, inputs, side)


def _computation(
    parts: SentenceParts, exact: Mapping[Purpose, Engine], spec: EncoderSpec, device: str
) -> Computation:
    if device == "cpu":  # half precision is slower there than fp32, and worse
        return Computation(exact, TORCH_CPU_BUDGET, fill=True)
    if spec.precision == "fp32":
        return Computation(exact, CUDA_BUDGET, fill=False)
    half = parts.engines(lambda graph: TorchEngine(graph, device, spec.precision))
    return Computation(half, CUDA_BUDGET, fill=False, exact=exact)


def _require_vectors(engine: Engine, parts: SentenceParts, spec: EncoderSpec, folder: Path) -> None:
    """Encode the probe. Configurations may agree with each other and not with the weights."""
    try:
        (vectors,) = engine.run([parts.probe])
    except DeviceFull as error:
        raise no_memory("two texts") from error
    except (RuntimeError, IndexError) as error:
        raise WeightsRefused("its modules do not fit together", item=str(folder)) from error
    if vectors.shape[1] != spec.dim:
        raise WeightsRefused(
            f"makes {vectors.shape[1]} dimensions, its files say {spec.dim}", item=str(folder)
        )
    for failure in unit_failures(vectors).values():  # weights of NaN, of zeros, or too large
        raise WeightsRefused(
            f"makes no usable vectors: {failure.message}",
            item=str(folder),
            do="Copy or download the weights anew.",
        )
