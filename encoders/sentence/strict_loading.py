"""Loads a sentence-transformers folder, and refuses it if a weight is missing or does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.model_folder.loading import (
    require_every_weight,
    translating_loading_errors,
)
from commonspace.encoders.model_folder.module_list import read_modules
from commonspace.encoders.sentence.model_checks import further_blocks, require_consistent
from commonspace.encoders.spec import EncoderSpec

_UNUSED = ("pooler.",)
"""Weights no vector depends on: the vector is pooled from `last_hidden_state`."""


def load_sentence_transformer(folder: Path, spec: EncoderSpec, device: str) -> SentenceTransformer:
    """The model in fp32 and evaluation mode, with every weight from the folder's files.

    Raises:
        WeightsRefused: a weight is missing or has another shape, the folder cannot be loaded, its
            files do not fit together, or the dim or longest input is not what the spec says.
    """
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # The checks below report what is wrong with a folder.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    # Weights of another shape are let through, to the check that names them.
    options = {"dtype": torch.float32, "use_safetensors": True, "ignore_mismatched_sizes": True}
    with translating_loading_errors(folder):
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs=dict(options),
        )
        _check_every_weight(model[0].auto_model, folder, options)
    _require_as_described(model, spec, folder)
    require_consistent(model[0].auto_model, model.tokenizer, folder / read_modules(folder)[0].path)
    return model.eval().requires_grad_(False)


def _check_every_weight(model: Any, folder: Path, options: dict[str, Any]) -> None:
    """Transformers silently fills a missing weight with random values: ask which were missing.

    Only its own class reports them, and only while it loads: so the network is loaded again.
    """
    transformer = folder / read_modules(folder)[0].path
    _, report = type(model).from_pretrained(
        str(transformer), local_files_only=True, output_loading_info=True, **options
    )
    further = further_blocks(model, report["unexpected_keys"])
    if further:
        raise WeightsRefused(
            f"its weights have blocks that config.json does not name, such as {further[0]}",
            item=str(folder),
            do="Copy config.json and the weights of the same model.",
        )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_UNUSED))
    misshapen = sorted(str(key) for key in report["mismatched_keys"])
    require_every_weight(missing, misshapen, folder)


def _require_as_described(model: SentenceTransformer, spec: EncoderSpec, folder: Path) -> None:
    model_dim, model_tokens = model.get_embedding_dimension(), model.max_seq_length
    dim = spec.full_dim or spec.dim
    if (model_dim, model_tokens) != (dim, spec.max_tokens):
        raise WeightsRefused(
            f"makes {model_dim} dimensions from {model_tokens} tokens, "
            f"but its files say {dim} from {spec.max_tokens}",
            item=str(folder),
            do="Copy the configuration and the weights of the same model.",
        )
