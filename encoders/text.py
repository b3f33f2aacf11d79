"""The text encoder: a sentence-transformers model, its own tokeniser calls and batches.

Texts are never handed to `SentenceTransformer.encode`: a model that also takes images would
fetch a text that is an address, and open one that is a path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.errors import WeightsRefused
from encoders.length_batches import Batch, length_batches
from encoders.protocol import Content, Encoded, Fact, Failure, Purpose, Reason
from encoders.sentence_model import load_model
from encoders.spec import EncoderSpec
from encoders.text_rules import refuse_text
from encoders.text_tokens import TextTokens, Tokens
from encoders.unit_rows import unit_failures

CPU_BUDGET = 512
"""Padded tokens a batch; always filled, so small enough for a lone query (measured: 2,048
unfilled is no more than a tenth faster)."""
CUDA_BUDGET = 65_536


class TextEncoder:
    """Unit vectors of texts, (m, dim) float32.

    On a CPU a vector has the same bits in every batch, order and subset; between devices it
    agrees within `spec.tolerance`. Texts beyond `spec.max_tokens` are cut and say so.
    """

    def __init__(self, folder: Path, spec: EncoderSpec, device: str) -> None:
        """Load the model.

        Raises:
            WeightsRefused: as `sentence_model.load_model`, or a tokenizer that cannot pad.
        """
        # Threads of the tokenizer hang in a forked child; on a CPU they would gain 1 %.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device != "cpu" else "false")
        self.spec = spec
        self.device = device
        self._device = torch.device(device)
        self._model = load_model(folder, spec, device)
        tokenizer: Any = self._model.tokenizer
        if tokenizer.pad_token_id is None:
            raise WeightsRefused("the tokenizer has no padding token", item=str(folder))
        self._longest = spec.max_tokens or tokenizer.model_max_length
        self._tokens = TextTokens(tokenizer, self._longest)
        self._pad = int(tokenizer.pad_token_id)
        self._pad_left = tokenizer.padding_side == "left"
        self._inputs = frozenset(tokenizer.model_input_names)
        self._budget = CPU_BUDGET if device == "cpu" else CUDA_BUDGET
        self._require_dim(folder)

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """Encode texts, each with the prompt of `purpose` before it."""
        failures = {i: f for i, content in enumerate(contents) if (f := refuse_text(content))}
        positions = [i for i in range(len(contents)) if i not in failures]
        prompt = self.spec.prompts[purpose]
        tokens = self._tokens([prompt + str(contents[i]) for i in positions])
        vectors = np.zeros((len(tokens), self.spec.dim), dtype=np.float32)
        bad = self._fill(vectors, tokens, prompt) | unit_failures(vectors)
        failures |= {positions[row]: failure for row, failure in bad.items()}
        kept = [row for row in range(len(positions)) if row not in bad]
        return Encoded(
            vectors if not bad else vectors[kept],
            np.array([positions[row] for row in kept], dtype=np.intp),
            [_facts(tokens[row]) for row in kept],
            failures,
        )

    def _fill(
        self, vectors: NDArray[np.float32], tokens: Sequence[Tokens], prompt: str
    ) -> dict[int, Failure]:
        """Write each text's vector into its row; rows the device had no memory for are returned."""
        failures: dict[int, Failure] = {}
        waiting = list(range(len(tokens)))
        while waiting:
            batches = length_batches(
                [len(tokens[row].ids) for row in waiting],
                longest=self._longest,
                budget=self._budget,
                fill=self._device.type == "cpu",
            )
            done: set[int] = set()
            try:
                for batch in batches:
                    rows = [waiting[position] for position in batch.positions]
                    vectors[rows] = self._forward(batch, [tokens[row] for row in rows], prompt)
                    done.update(rows)
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                if len(rows) == 1:
                    failures[rows[0]] = _out_of_memory()
                    done.update(rows)
                else:
                    self._budget = max(1, self._budget // 2)
            waiting = [row for row in waiting if row not in done]
        return failures

    @torch.inference_mode()
    def _forward(self, batch: Batch, tokens: Sequence[Tokens], prompt: str) -> NDArray[np.float32]:
        shape = (batch.rows, batch.width)
        ids = np.full(shape, self._pad, dtype=np.int64)
        types, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        mask[len(tokens) :] = 1  # a filler row with nothing to attend to would be NaN
        for row, text in enumerate(tokens):
            length = len(text.ids)
            place = slice(batch.width - length, None) if self._pad_left else slice(length)
            ids[row, place], types[row, place], mask[row, place] = text.ids, text.types, 1
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            features["token_type_ids"] = types
        features = {key: self._to_device(value) for key, value in features.items()}
        if prompt and not self.spec.preprocessing["pool_prompt"]:
            features["prompt_length"] = self._tokens.prompt_length(prompt)
        output: torch.Tensor = self._model(features)["sentence_embedding"][: len(tokens)]
        if self.spec.preprocessing["normalise"] == "added":
            output = torch.nn.functional.normalize(output, dim=1)
        array: NDArray[np.float32] = output.float().cpu().numpy()
        return array

    def _require_dim(self, folder: Path) -> None:
        """Encode one text: configurations can agree with each other and not with the weights."""
        (probe,) = self._tokens(["probe"])
        try:
            made = self._forward(Batch([0], len(probe.ids), 1), [probe], "").shape[1]
        except RuntimeError as error:
            raise WeightsRefused("its modules do not fit together", item=str(folder)) from error
        if made != self.spec.dim:
            raise WeightsRefused(
                f"makes {made} dimensions, its files say {self.spec.dim}", item=str(folder)
            )

    def _to_device(self, array: NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _facts(tokens: Tokens) -> Mapping[str, Fact]:
    used = len(tokens.ids)
    return {"tokens_used": used, "tokens_total": tokens.total, "truncated": tokens.total > used}


def _out_of_memory() -> Failure:
    return Failure(Reason.ENCODER_FAILED, "no device memory for this text alone", retryable=True)
