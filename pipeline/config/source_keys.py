"""What a key of `[source]` needs: which kind of source it belongs to, which others it fits."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from commonspace.pipeline.errors import did_you_mean

_TABLES = ("csv", "jsonl", "parquet")
KINDS_OF_KEY = {
    "generate_id": _TABLES,
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


def id_problem(kind: str, column: str, generated: str | None, *, has_metadata: bool) -> str | None:
    """Why the items of a source would have no id, or two, or None.

    Args:
        kind: of the source.
        column: its `id`.
        generated: its `generate_id`.
        has_metadata: whether it has `metadata`.
    """
    if kind == "folder":
        if column not in {"", "stem", "path"}:
            return 'a folder\'s `id` is "stem" (pairs a text and an image) or "path"'
        return "a folder has no columns, so it takes no `metadata`" if has_metadata else None
    if column and generated:
        return "`id` names a column, `generate_id` makes ids where there is none: set one of them"
    if not column and not generated:
        return (
            f"a {kind} source needs `id`: the column with a stable id; where it has none, "
            '`generate_id = "content"` or `"row"` makes ids'
        )
    return None


def newest_problem(
    newest: str | None, metadata: Mapping[str, str], generated: str | None
) -> str | None:
    """Why no column decides which of two records of one id is the newer one, or None."""
    if newest is None:
        return None
    kind = metadata.get(newest)
    if kind is None:
        hint = did_you_mean(newest, metadata) or " (there is none)"
        return f"`newest` names {newest!r}, no column of `metadata`{hint}"
    if kind == "bool":
        return f"`newest` names {newest!r}, a bool, which says no order"
    if generated == "row":
        return '`newest` chooses between records of one id, and by `generate_id = "row"` none share'
    return None
