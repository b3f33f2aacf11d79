"""Which names a metadata column may have: those that every reader tells apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from unicodedata import normalize

RESERVED = frozenset(
    {
        *("id", "vector", "content_digest", "row_digest", "partition", "source_uri"),
        *("encoded_at", "run", "digest", "locator", "similarity", "bm25", "found"),
        *("tokens_used", "tokens_total", "tokens_unknown", "truncated", "text_rules"),
        *("image_format", "image_mode", "image_width", "image_height"),
        *("image_orientation", "image_frames", "image_rules"),
    }
)
"""Columns that commonspace writes itself, in a release or in a run's files."""

PASSAGE_COLUMNS = frozenset({"item", "passage", "passage_start", "passage_end"})
"""Columns that commonspace adds where a space has `overflow = "rows"`."""


def fold_name(column: str) -> str:
    """A column's name as readers compare it that ignore case (DuckDB, Spark, BigQuery).

    Canonical caseless matching: The Unicode Standard, section 3.13, definition D145.
    """
    return normalize("NFD", normalize("NFD", column).casefold())


def check_column_names(value: Collection[str]) -> None:
    """Refuse names that clash with our own, with each other, or with what a table can have.

    `*` is every column for LanceDB; the items of a run have a column `digest:…` for each space.

    Raises:
        ValueError: naming those of them that do.
    """
    if clash := sorted(filter(_is_reserved, value)):
        raise ValueError(f"these names are reserved: {', '.join(clash)}")
    folded = Counter(map(fold_name, value))
    if alike := sorted(name for name in value if folded[fold_name(name)] > 1):
        raise ValueError(f"many readers cannot tell these names apart: {', '.join(alike)}")
    invalid = [
        name
        for name in value
        if not name.isprintable() or name[:1] in {"", "_"} or set(name) & {*".`"}
    ]
    if invalid:
        raise ValueError(
            f"a table cannot have these columns (empty, `_…`, `.` or ` in it): {invalid}"
        )


def _is_reserved(column: str) -> bool:
    name = fold_name(column)
    return name in RESERVED or name == "*" or name.startswith("digest:")
