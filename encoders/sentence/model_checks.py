"""Checks that the files of a text model belong together, where the libraries would not notice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from commonspace.encoders.errors import WeightsRefused


def require_consistent(network: Any, tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer that is missing or another model's, and inputs beyond the positions.

    Args:
        network: as transformers loaded it.
        tokenizer: as transformers loaded it.
        folder: where both were loaded from.

    Raises:
        WeightsRefused: some text would be encoded without its words, or not at all.
    """
    vocabularies = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    if not any((folder / name).is_file() for name in vocabularies):
        raise WeightsRefused(
            f"the model has no tokenizer: there is none of {', '.join(sorted(vocabularies))}",
            item=str(folder),
            do="Copy the complete folder; without a tokenizer, every word would be unknown.",
        )
    vocabulary_size = network.get_input_embeddings().num_embeddings
    highest_token = max(tokenizer.get_vocab().values(), default=0)
    if highest_token >= vocabulary_size:
        raise WeightsRefused(
            f"its tokenizer has a token {highest_token}, but its weights know {vocabulary_size} "
            "tokens",
            item=str(folder),
            do="Copy the tokenizer and the weights of the same model.",
        )
    max_length = tokenizer.model_max_length
    positions = min(_learned_positions(network), default=max_length)
    if max_length > positions:
        raise WeightsRefused(
            f"it is set to read {max_length} tokens, but its weights know {positions} positions",
            item=str(folder),
            do=f"Set max_seq_length in sentence_bert_config.json to {positions} or less.",
        )
    fixed_length = min(_lengths_of_fixed_positions(network.config), default=max_length)
    if max_length > fixed_length:
        raise WeightsRefused(
            f"its positions adapt to the longest text of a batch, beyond {fixed_length} tokens",
            item=str(folder),
            do="A vector would depend on the other texts of its batch. Set max_seq_length in "
            f"sentence_bert_config.json to {fixed_length} or less.",
        )


def further_blocks(network: Any, unexpected: Iterable[str]) -> list[str]:
    """Numbered blocks in a weights file, beyond the last one that the network has.

    Args:
        network: as transformers loaded it.
        unexpected: the file's tensors that the network did not take. Heads and buffers that no
            vector depends on may be among them, and often are.
    """
    known = {name for name, _ in network.named_modules()}
    blocks = set()
    for key in unexpected:
        name = key.removeprefix(f"{network.base_model_prefix}.")
        for number in re.finditer(r"\.[0-9]+(?=\.)", name):
            if name[: number.start()] in known and name[: number.end()] not in known:
                blocks.add(name[: number.end()])
    return sorted(blocks)


def _learned_positions(network: torch.nn.Module) -> Iterator[int]:
    """How many tokens have a learned position; rotary and relative positions have no limit."""
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # Where one position is reserved for padding, counting begins after it.
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            yield module.num_embeddings - reserved


def _lengths_of_fixed_positions(config: Any) -> Iterator[int]:
    """Up to how many tokens rotary positions that adapt to a batch stay the same.

    Beyond it, transformers keeps in the module what they were adapted to: see
    `dynamic_rope_update` in its `modeling_rope_utils`.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    for rule in [rope, *rope.values()]:  # one rule, or one for each kind of layer
        kind = rule.get("rope_type", "") if isinstance(rule, Mapping) else ""
        if "dynamic" in kind:
            yield config.max_position_embeddings
        elif kind == "longrope":
            yield rule["original_max_position_embeddings"]
