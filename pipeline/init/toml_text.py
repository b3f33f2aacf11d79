"""TOML as text: strings, keys and comments of any characters that it can have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from textwrap import wrap

LONGEST_LINE = 600
"""Characters of what a comment says in one piece."""
WIDTH = 98
"""Characters of a line in a list of comments."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def is_writable(text: str) -> bool:
    """Whether a collection file can hold the text: it has neither a lone surrogate nor a NUL."""
    return not any("\ud800" <= character <= "\udfff" or character == "\0" for character in text)


def toml_string(text: str) -> str:
    """The text in quotes, as TOML's basic strings have it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(text: str) -> str:
    """The key, in quotes where it has to be."""
    return text if _BARE_KEY.fullmatch(text) else toml_string(text)


def toml_value(value: object) -> str:
    """A string, a boolean, an integer, a list of strings, or a table of strings in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        pairs = (f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return toml_string(str(value))


def comment(text: str) -> str:
    """The text as a comment, a line for each of its lines, escaped where TOML allows none."""
    return "".join(f"# {shown(line)}".rstrip() + "\n" for line in text.split("\n"))


def comments(texts: Iterable[str]) -> str:
    """Each text as an entry of a list of comments, in lines of a readable length."""
    entries = (wrap(f"- {shown(text)}", WIDTH, subsequent_indent="  ") for text in texts)
    return "".join(comment(line) for entry in entries for line in entry)


def shown(text: str) -> str:
    """The beginning of the text, in one line of printable characters."""
    text = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
