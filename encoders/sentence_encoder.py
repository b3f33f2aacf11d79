"""A sentence-transformers folder, loaded: which engine runs it, and with which batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.angles import largest_angle
from encoders.engine import Engine
from encoders.errors import EncoderError, WeightsRefused
from encoders.length_batches import Batch
from encoders.protocol import Purpose
from encoders.runtime import choose_engine, choose_threads
from encoders.sentence_model import load_model
from encoders.spec import EncoderSpec
from encoders.text import Computation, TextEncoder
from encoders.text_graph import TextGraph
from encoders.text_inputs import TextInputs
from encoders.text_tokens import TextTokens

OPENVINO_BUDGET = 512
"""Padded tokens a batch. Measured on 2 cores: 512 and 1,024 alike, 2,048 a tenth slower."""
TORCH_CPU_BUDGET = 512
"""Always filled, so small enough for a lone query."""
CUDA_BUDGET = 65_536

PURPOSES: tuple[Purpose, ...] = ("document", "query")
_CLOSE = 1e-4
"""Radians between what PyTorch and a conversion of the same model may give; measured: 7e-6."""


def load_sentence_encoder(folder: Path, spec: EncoderSpec, device: str) -> TextEncoder:
    """Load the model of `folder` for `device`.

    Raises:
        WeightsRefused: as `sentence_model.load_model`, or a tokenizer that cannot pad.
        EncoderError: OpenVINO is to run the model and cannot.
    """
    # Threads of the tokenizer hang in a forked child; on a CPU they would gain 1 %.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device != "cpu" else "false")
    model = load_model(folder, spec, device)
    tokenizer: Any = model.tokenizer
    if tokenizer.pad_token_id is None:
        raise WeightsRefused("the tokenizer has no padding token", item=str(folder))
    assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
    tokens = TextTokens(
        tokenizer.backend_tokenizer, spec.max_tokens, tokenizer.truncation_side, spec.overflow
    )
    inputs = TextInputs(
        int(tokenizer.pad_token_id),
        tokenizer.padding_side == "left",
        "token_type_ids" in tokenizer.model_input_names,
    )
    pooled_out = {p: tokens.prompt_length(spec.prompts[p]) for p in PURPOSES}
    if spec.preprocessing["pool_prompt"]:
        pooled_out = dict.fromkeys(PURPOSES, 0)
    graphs = {n: TextGraph(model, spec, n).eval() for n in set(pooled_out.values())}
    probe = _Probe(tokens, inputs, spec, folder)
    computation = _computation(graphs, pooled_out, spec, device, probe)
    return TextEncoder(spec, tokens, inputs, computation, device)


def _computation(
    graphs: dict[int, TextGraph],
    pooled_out: dict[Purpose, int],
    spec: EncoderSpec,
    device: str,
    probe: _Probe,
) -> Computation:
    from encoders.torch_engine import TorchEngine

    def engines(make: Callable[[TextGraph], Engine]) -> dict[Purpose, Engine]:
        made = {length: make(graph) for length, graph in graphs.items()}
        return {purpose: made[length] for purpose, length in pooled_out.items()}

    exact = engines(lambda graph: TorchEngine(graph, device))
    expected = probe(exact["document"])
    if choose_engine(device) == "openvino":
        from encoders.openvino_convert import convert
        from encoders.openvino_engine import OpenVinoEngine

        converted = engines(
            lambda graph: OpenVinoEngine(convert(graph, probe.example), choose_threads())
        )
        probe.require_equal(probe(converted["document"]), expected)
        return Computation(converted, OPENVINO_BUDGET, fill=False)
    if device == "cpu":  # half precision is slower there than fp32, and worse
        return Computation(exact, TORCH_CPU_BUDGET, fill=True)
    if spec.precision == "fp32":
        return Computation(exact, CUDA_BUDGET, fill=False)
    half = engines(lambda graph: TorchEngine(graph, device, spec.precision))
    return Computation(half, CUDA_BUDGET, fill=False, exact=exact)


class _Probe:
    """Two texts of unlike length: configurations may agree with each other, not with weights."""

    def __init__(
        self, tokens: TextTokens, inputs: TextInputs, spec: EncoderSpec, folder: Path
    ) -> None:
        windows = [one.windows[0] for one in tokens(["probe", "a second, longer probe"])]
        width = max(len(window.ids) for window in windows)
        self._spec, self._folder = spec, folder
        self._arrays = inputs.arrays(Batch([0, 1], width, 2), windows)
        self.example = tuple(torch.from_numpy(array) for array in self._arrays)

    def __call__(self, engine: Engine) -> np.ndarray:
        """Their vectors. Raises WeightsRefused where the modules or the dim do not fit."""
        try:
            (vectors,) = engine.run([self._arrays])
        except RuntimeError as error:
            raise WeightsRefused(
                "its modules do not fit together", item=str(self._folder)
            ) from error
        if vectors.shape[1] != self._spec.dim:
            raise WeightsRefused(
                f"makes {vectors.shape[1]} dimensions, its files say {self._spec.dim}",
                item=str(self._folder),
            )
        return vectors

    def require_equal(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Raises EncoderError where a conversion gives other vectors than the model."""
        angle = largest_angle(found, expected)
        if not angle <= _CLOSE:
            raise EncoderError(
                f"OpenVINO's vectors lie {angle:.1e} rad from PyTorch's",
                item=str(self._folder),
                do="Set COMMONSPACE_ENGINE=torch: slower on a CPU.",
            )
