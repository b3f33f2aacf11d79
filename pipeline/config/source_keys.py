"""Which kinds of sources a key of `[source]` belongs to, and which marks a CSV may have."""

from __future__ import annotations

from pydantic import BaseModel

_TABLES = ("csv", "jsonl", "parquet")
KINDS_OF_KEY = {
    "encoding": ("csv", "jsonl"),
    "delimiter": ("csv",),
    "escape": ("csv",),
    "comment": ("csv",),
    "columns": ("csv",),
    "image_root": _TABLES,
    "text_suffixes": ("folder",),
    "image_suffixes": ("folder",),
}
"""The keys that not every kind of source has."""


def foreign_keys_problem(source: BaseModel, kind: str) -> str | None:
    """Why a source of this kind cannot have its keys, or None; a default does no harm."""
    fields = type(source).model_fields
    foreign = [
        key
        for key, kinds in KINDS_OF_KEY.items()
        if kind not in kinds and getattr(source, key) != fields[key].default
    ]
    problems = [f"`{key}` belongs to {', '.join(KINDS_OF_KEY[key])} sources" for key in foreign]
    return f"{', '.join(problems)}, and this is a {kind} source" if problems else None


def csv_marks_problem(delimiter: str, escape: str | None, comment: str | None) -> str | None:
    """Why a CSV cannot be read by these marks together, or None."""
    if escape == delimiter:
        return "`escape` and `delimiter` cannot be the same character"
    if comment and (set(comment) & {"\r", "\n"} or comment[0] in {'"', delimiter}):
        return "`comment` cannot begin with a quote or the delimiter, or hold a line break"
    return None
