"""Do the files of a text model belong together? What the libraries load without a word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from commonspace.encoders.errors import WeightsRefused


def require_consistent(network: Any, tokenizer: Any, place: Path) -> None:
    """Refuse a tokenizer that is missing or another model's, and inputs beyond the positions.

    network, tokenizer: as transformers loaded them from the folder `place`.

    Raises:
        WeightsRefused: some text would be encoded without its words, or not at all.
    """
    vocabularies = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    if not any((place / name).is_file() for name in vocabularies):
        raise WeightsRefused(
            f"has no tokenizer: none of {', '.join(sorted(vocabularies))}",
            item=str(place),
            do="Copy the folder whole; without one, every word would be unknown.",
        )
    words = network.get_input_embeddings().num_embeddings
    last = max(tokenizer.get_vocab().values(), default=0)
    if last >= words:
        raise WeightsRefused(
            f"its tokenizer has a token {last}, its weights know {words} tokens",
            item=str(place),
            do="Copy the tokenizer and the weights of one model.",
        )
    longest = tokenizer.model_max_length
    places = min(_places(network), default=longest)
    if longest > places:
        raise WeightsRefused(
            f"is to read {longest} tokens, its weights know {places} positions",
            item=str(place),
            do=f"Set max_seq_length in sentence_bert_config.json to {places} or less.",
        )
    steady = min(_steady(network.config), default=longest)
    if longest > steady:
        raise WeightsRefused(
            f"stretches its positions by the longest text of a batch, beyond {steady} tokens",
            item=str(place),
            do="A vector would depend on its neighbours; set max_seq_length in "
            f"sentence_bert_config.json to {steady} or less.",
        )


def further_blocks(network: Any, unexpected: Iterable[str]) -> list[str]:
    """Numbered blocks of a stack in a weights file, beyond the last one that the network has.

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


def _places(network: torch.nn.Module) -> Iterator[int]:
    """How many tokens have a learned position; rotary and relative ones have no last one."""
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # Where one of them is padding's, counting begins after it.
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            yield module.num_embeddings - reserved


def _steady(config: Any) -> Iterator[int]:
    """Up to how many tokens rotary positions that adapt to a batch stay as they are.

    transformers keeps what they were adapted to in the module: in `modeling_rope_utils`,
    `dynamic_rope_update`.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    for rule in [rope, *rope.values()]:  # one, or one for each kind of layer
        kind = rule.get("rope_type", "") if isinstance(rule, Mapping) else ""
        if "dynamic" in kind:
            yield config.max_position_embeddings
        elif kind == "longrope":
            yield rule["original_max_position_embeddings"]
