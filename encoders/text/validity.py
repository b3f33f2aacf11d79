"""Which texts can be encoded: the same rules for every text encoder.

| content                                              | outcome          |
|------------------------------------------------------|------------------|
| not `str`                                            | WRONG_TYPE       |
| longer than `MAX_CHARACTERS`                         | TEXT_TOO_LONG    |
| a lone surrogate                                     | INVALID_UNICODE  |
| only spaces, controls, zero-width or blank characters| EMPTY_TEXT       |
| anything else, addresses and paths included          | text, as it is   |

A text of which a model's tokenizer knows nothing has a vector; it is `UNREADABLE`.
"""

from __future__ import annotations

import unicodedata

from commonspace.encoders.protocol import Failure, Reason

MAX_CHARACTERS = 2_000_000
"""About four long novels. A longer text is more often a faulty record than a document:
ten million characters cost 37 s and 2 GB for one vector of 256 tokens."""
TEXT_RULES_VERSION = 1
"""Part of specs. Raise it when a text that was encoded would be refused, or the reverse."""
UNREADABLE = Failure(
    Reason.UNKNOWN_TEXT, "the model knows none of the tokens that would be encoded"
)

_INVISIBLE_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Hangul fillers and the empty braille cell: letters and symbols by category, blank to the eye."""


def text_failure(content: object) -> Failure | None:
    """Why `content` cannot be encoded as text, or None where it can."""
    if not isinstance(content, str):
        return Failure(Reason.WRONG_TYPE, f"expected text, got {type(content).__name__}")
    if len(content) > MAX_CHARACTERS:
        return Failure(
            Reason.TEXT_TOO_LONG, f"{len(content):,} characters; the limit is {MAX_CHARACTERS:,}"
        )
    position = _lone_surrogate(content)
    if position is not None:
        return Failure(Reason.INVALID_UNICODE, f"lone surrogate at character {position}")
    if not any(_is_visible(character) for character in content):
        return Failure(Reason.EMPTY_TEXT, "nothing but blank or invisible characters")
    return None


def _lone_surrogate(text: str) -> int | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def _is_visible(character: str) -> bool:
    return (
        unicodedata.category(character) not in _INVISIBLE_CATEGORIES
        and character not in _BLANK_LETTERS
    )
