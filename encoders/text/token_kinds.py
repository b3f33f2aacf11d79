"""What tokens say of a text: which are unknown to the model, and which are control tokens.

| a token of the text                                          | it is                           |
|--------------------------------------------------------------|---------------------------------|
| the one for what the vocabulary does not hold (`[UNK]`)      | unknown                         |
| a special one, spelt out in the text (`[SEP]`, `</s>`)       | control: it acts as the model's |
| the mark of a word's beginning alone (`▁`)                   | blank                           |
| any other; a byte of byte-level BPE or of a fallback is one  | known                           |

Where the unknown token is also one that ends or begins each text (CLIP), it is a control token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

_WORD_MARKS = "\u2581\u0120"
"""What stands for a space before a word in SentencePiece's and in byte-level vocabularies."""


@dataclass(frozen=True)
class Frame:
    """What stands around every text: special tokens, and the prompt; how many of each kind."""

    tokens: int
    unknown: int
    control: int
    known: int

    @property
    def odd(self) -> int:
        """How many are unknown or control tokens."""
        return self.unknown + self.control


@dataclass(frozen=True)
class Reading:
    """What a model reads of a text.

    Attributes:
        unknown: how many of the text's own tokens are the unknown one.
        has_control: whether control tokens are written in the text.
        is_unreadable: whether none of the text's own tokens is known, or it has none.
    """

    unknown: int
    has_control: bool
    is_unreadable: bool


_PLAIN = Reading(0, has_control=False, is_unreadable=False)


class TokenKinds:
    """Tells the kinds of a tokenizer's ids apart."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        empty = tokenizer.encode("")
        around = [n for n, mask in zip(empty.ids, empty.special_tokens_mask, strict=True) if mask]
        unknown = _unknown_id(tokenizer)
        self._unknown = None if unknown in around else unknown
        added = tokenizer.get_added_tokens_decoder()
        control = {*around, *(n for n, token in added.items() if token.special)} - {self._unknown}
        odd = control if self._unknown is None else control | {self._unknown}
        # The last entry stands for every id beyond the table.
        self._is_control, self._is_odd = np.zeros((2, max(odd, default=0) + 2), dtype=np.bool_)
        self._is_control[list(control)] = True
        self._is_odd[list(odd)] = True

    def frame(self, prompt: str) -> Frame:
        """What stands around every text that has this prompt."""
        ids = np.array(self._tokenizer.encode(prompt).ids, dtype=np.int64)
        return Frame(len(ids), self._count_unknown(ids), self._count_control(ids), self._known(ids))

    def read(self, windows: Sequence[NDArray[np.int64]], frame: Frame) -> Reading:
        """What the model reads of a text.

        Args:
            windows: (n,) ids of each window.
            frame: what each of them has beside its part of the text.
        """
        if all(
            len(ids) > frame.tokens + 1
            and np.count_nonzero(self._is_odd.take(ids, mode="clip")) == frame.odd
            for ids in windows
        ):
            return _PLAIN  # one look at each token is all that nearly every text needs
        unknown = sum(self._count_unknown(ids) - frame.unknown for ids in windows)
        own = sum(len(ids) - frame.tokens for ids in windows)
        return Reading(
            unknown,
            has_control=any(self._count_control(ids) > frame.control for ids in windows),
            # Looked at only where it may be so: a lone token may be the mark of a word.
            is_unreadable=(unknown > 0 or own < 2)
            and all(self._known(ids) <= frame.known for ids in windows),
        )

    def _count_unknown(self, ids: NDArray[np.int64]) -> int:
        return 0 if self._unknown is None else int(np.count_nonzero(ids == self._unknown))

    def _count_control(self, ids: NDArray[np.int64]) -> int:
        return int(np.count_nonzero(self._is_control.take(ids, mode="clip")))

    def _known(self, ids: NDArray[np.int64]) -> int:
        """How many tokens are neither unknown nor blank."""
        tokens = [self._tokenizer.id_to_token(n) for n in ids.tolist() if n != self._unknown]
        return sum(bool(token and token.strip(_WORD_MARKS).strip()) for token in tokens)


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id that the model gives what its vocabulary does not hold; None where it has none."""
    model = json.loads(tokenizer.to_str())["model"]  # the one place that every kind of model has
    name, number = model.get("unk_token"), model.get("unk_id")
    return number if name is None else tokenizer.token_to_id(name)
