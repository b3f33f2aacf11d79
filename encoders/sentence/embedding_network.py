"""A sentence-transformers model as one module: token ids in, unit vectors out."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from commonspace.encoders.spec import EncoderSpec


class TextEmbeddingNetwork(torch.nn.Module):
    """From (ids, mask[, types]), each (n, width) int64, to (n, spec.dim) float32 of unit norm."""

    def __init__(self, model: SentenceTransformer, spec: EncoderSpec, prompt_length: int) -> None:
        """Take the model's modules; pooling leaves out the first `prompt_length` tokens."""
        super().__init__()
        self._modules_in_order = torch.nn.Sequential(*model)
        self._prompt_length = prompt_length
        self._dim = spec.dim
        self._unit = spec.preprocessing["normalise"] == "model" and spec.full_dim is None

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None
    ) -> torch.Tensor:
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if types is not None:
            features["token_type_ids"] = types
        if self._prompt_length:
            features["prompt_length"] = self._prompt_length
        output: torch.Tensor = self._modules_in_order(features)["sentence_embedding"]
        if self._unit:
            return output
        return torch.nn.functional.normalize(output[:, : self._dim], dim=1)
