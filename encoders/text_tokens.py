"""Tokenising each text once: what is encoded of it, and how long it really is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

_CHARACTERS_AT_ONCE = 2_000_000
"""Bounds the tokenizer's memory, about 100 bytes a token, to some hundred MB."""


@dataclass(frozen=True)
class Tokens:
    """One tokenised text; `ids` (n,) and `types` (n,) int64 with special tokens, cut at the limit.

    total: tokens of the whole text, special tokens counted once.
    """

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    total: int


class TextTokens:
    """A tokenizer of transformers as sentence-transformers uses it, but saying what it cuts.

    The Rust tokenizer keeps what truncation cuts as overflow, so that one pass gives both the
    tokens to encode and the length of the whole.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._rust = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._rust.no_padding()
        self._rust.enable_truncation(max_tokens, direction=tokenizer.truncation_side)
        self._special = self._rust.num_special_tokens_to_add(False)

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text, in order."""
        return [
            self._tokens(encoding)
            for block in _blocks(texts)
            for encoding in self._rust.encode_batch_fast(block)
        ]

    def prompt_length(self, prompt: str) -> int:
        """Tokens a prompt takes at the head of a text, a trailing special token not counted."""
        encoding = self._rust.encode(prompt)
        return len(encoding.ids) - (encoding.special_tokens_mask[-1] if encoding.ids else 0)

    def _tokens(self, encoding: Encoding) -> Tokens:
        total = len(encoding.ids)
        total += sum(len(part.ids) - self._special for part in encoding.overflowing)
        return Tokens(
            np.array(encoding.ids, dtype=np.int64),
            np.array(encoding.type_ids, dtype=np.int64),
            total,
        )


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    characters = 0
    for text in texts:
        block.append(text)
        characters += len(text)
        if characters >= _CHARACTERS_AT_ONCE:
            yield block
            block, characters = [], 0
    if block:
        yield block
