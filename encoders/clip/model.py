"""Loads a CLIP folder, and refuses it if a weight is missing; its two towers as modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, CLIPModel
from transformers.utils import logging

from commonspace.encoders.clip.spec import network_folder
from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.model_folder.loading import (
    require_every_weight,
    translating_loading_errors,
)


class TextTower(torch.nn.Module):
    """From (ids, mask), each (n, width) int64, to (n, dim) float32 of unit norm."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        features = self._model.get_text_features(input_ids=ids, attention_mask=mask)
        return torch.nn.functional.normalize(features.pooler_output, dim=1)


class ImageTower(torch.nn.Module):
    """From levels (n, 3, side, side) uint8 to (n, dim) float32 of unit norm."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, model: Any, preprocessing: Mapping[str, Any]) -> None:
        """Take the model's tower; `preprocessing` is as `read_image_settings` returns it."""
        super().__init__()
        self._model = model
        # Rescaling and normalising in one step, as transformers computes them.
        for name, values in (("mean", preprocessing["mean"]), ("deviation", preprocessing["std"])):
            levels = torch.tensor(values) * (1.0 / preprocessing["rescale"])
            self.register_buffer(name, levels.view(1, 3, 1, 1))

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        features = self._model.get_image_features(pixel_values=self.normalised(levels))
        return torch.nn.functional.normalize(features.pooler_output, dim=1)

    def normalised(self, levels: torch.Tensor) -> torch.Tensor:
        """The same images as float32, with the model's own mean and deviation."""
        return (levels.float() - self.mean) / self.deviation


@dataclass(frozen=True)
class LoadedClip:
    """Both towers in fp32 and evaluation mode, and the tokenizer of transformers."""

    text: TextTower
    image: ImageTower
    tokenizer: Any


def load_clip(folder: Path, preprocessing: Mapping[str, Any]) -> LoadedClip:
    """The model in `folder`, with every weight from its files.

    Args:
        folder: of the model.
        preprocessing: of images, as `read_image_settings` returns it.

    Raises:
        WeightsRefused: a weight is missing or has another shape, the folder cannot be loaded, or
            its tokenizer does not end a text as the network expects.
    """
    network_path = str(network_folder(folder))
    network: Any = CLIPModel
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with translating_loading_errors(folder):
        model, report = network.from_pretrained(
            network_path,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            network_path, local_files_only=True, trust_remote_code=False
        )
        ends_texts = _ends_texts(tokenizer, model.config.text_config)
    missing, misshapen = sorted(report["missing_keys"]), sorted(map(str, report["mismatched_keys"]))
    require_every_weight(missing, misshapen, folder)
    if not ends_texts:
        raise WeightsRefused(
            "its tokenizer does not end a text with the token that the network takes the vector of",
            item=str(folder),
            do="Check that the tokenizer's files belong to this model.",
        )
    model = model.eval().requires_grad_(False)
    return LoadedClip(TextTower(model).eval(), ImageTower(model, preprocessing).eval(), tokenizer)


def _ends_texts(tokenizer: Any, config: Any) -> bool:
    """Whether the vector is taken from a text's last token.

    Elsewhere it would be taken from its first: the same vector for every text.
    """
    ids = tokenizer("a probe").input_ids
    if max(ids) >= config.vocab_size:
        return False
    # Configurations from before 2023 say 2 and mean the highest token, as in transformers.
    end = max(ids) if config.eos_token_id == 2 else config.eos_token_id
    return bool(ids) and ids.index(ids[-1]) == len(ids) - 1 and ids[-1] == end
