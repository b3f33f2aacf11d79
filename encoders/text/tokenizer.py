"""Tokenises each text once: the tokens that are encoded, and how many the whole text has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from commonspace.encoders.text.token_kinds import Frame, Reading, TokenKinds

_CHARACTERS_AT_ONCE = 2_000_000
"""Bounds the tokenizer's memory, about 100 bytes for each token, to some hundred MB."""


@dataclass(frozen=True)
class Window:
    """Tokens that the model sees at once: `ids` and `types` (n,) int64, special ones included."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64]


@dataclass(frozen=True)
class TokenisedText:
    """One tokenised text, cut at the limit or split into windows.

    Attributes:
        windows: what is encoded.
        used: tokens that are encoded; special tokens count once, however many windows have them.
        total: tokens of the whole text, counted alike.
        reading: what the model reads of the windows, prompt aside.
    """

    windows: tuple[Window, ...]
    used: int
    total: int
    reading: Reading


class TextTokenizer:
    """A Rust tokenizer as sentence-transformers uses it, but one that reports what it cuts.

    It keeps what truncation cuts as overflow, so that one pass gives the tokens to encode, the
    length of the whole text, and the windows of a text that is not to be cut.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, side: str, overflow: str) -> None:
        """Copy the tokenizer and set its limit.

        Args:
            tokenizer: the model's; it is not changed.
            max_tokens: of a window, special tokens included.
            side: at which end a text is cut, `right` or `left`.
            overflow: as in `EncoderSpec`.
        """
        self._rust = Tokenizer.from_str(tokenizer.to_str())
        self._rust.no_padding()
        self._special = self._rust.num_special_tokens_to_add(False)
        self._max, self._side, self._overflow = max_tokens, side, overflow
        self._limit_to(max_tokens)
        self._kinds = TokenKinds(self._rust)

    def __call__(self, texts: Sequence[str], prompt: str = "") -> list[TokenisedText]:
        """The tokens of each text, in order, with the prompt before each of its windows."""
        frame = self._kinds.frame(prompt)
        return [
            self._tokenised(encoding, text, prompt, frame)
            for block in _blocks(texts)
            for encoding, text in zip(
                self._rust.encode_batch_fast([prompt + text for text in block]), block, strict=True
            )
        ]

    def prompt_length(self, prompt: str) -> int:
        """How many tokens a prompt takes before a text, without a special token behind it."""
        encoding = self._rust.encode(prompt)
        return len(encoding.ids) - (encoding.special_tokens_mask[-1] if encoding.ids else 0)

    def _tokenised(self, encoding: Encoding, text: str, prompt: str, frame: Frame) -> TokenisedText:
        first = _window(encoding)
        windows: tuple[Window, ...] = (first,)
        used = len(first.ids)
        total = used + sum(len(part.ids) - self._special for part in encoding.overflowing)
        if total > used and self._overflow == "mean":
            if prompt:
                windows, cut = self._windows_with_prompt(text, prompt)
                used = total - cut
            else:
                windows, used = (first, *map(_window, encoding.overflowing)), total
        reading = self._kinds.read([window.ids for window in windows], frame)
        if prompt and reading.is_unreadable:  # its end may be one token with the text's beginning
            alone = self._tokenised(self._rust.encode(text), text, "", self._kinds.frame(""))
            reading = replace(reading, is_unreadable=alone.reading.is_unreadable)
        return TokenisedText(windows, used, total, reading)

    def _windows_with_prompt(self, text: str, prompt: str) -> tuple[tuple[Window, ...], int]:
        """Windows that each begin with the prompt, and how many tokens none of them holds.

        The text is split, and each piece tokenised.
        """
        length = len(self._rust.encode(prompt, add_special_tokens=False).ids)
        self._limit_to(max(self._max - length, self._special + 1))
        whole = self._rust.encode(text)
        self._limit_to(self._max)
        spans = [_characters(part) for part in [whole, *whole.overflowing]]
        parts = self._rust.encode_batch_fast([prompt + text[a:b] for a, b in sorted(spans)])
        # A token that spanned a cut may have become two: what no longer fits counts as cut.
        cut = sum(len(rest.ids) - self._special for part in parts for rest in part.overflowing)
        return tuple(map(_window, parts)), cut

    def _limit_to(self, tokens: int) -> None:
        self._rust.enable_truncation(tokens, direction=self._side)


def _window(encoding: Encoding) -> Window:
    return Window(
        np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64)
    )


def _characters(encoding: Encoding) -> tuple[int, int]:
    """The span of the text that an encoding's tokens cover, special ones left out."""
    spans = [
        span
        for span, special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        if not special
    ]
    return spans[0][0], spans[-1][1]


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
