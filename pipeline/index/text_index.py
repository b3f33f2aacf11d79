"""Full-text indices of a LanceDB table: words as they are written, case and accents aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from commonspace.pipeline.index.policy import TAIL_SHARE


def indexes_by_column(listed: Sequence[Any]) -> dict[str, Any]:
    """The full-text indices among those that `list_indices` gives."""
    texts = (one for one in listed if one.index_type == "FTS")
    return {one.columns[0].strip("`"): one for one in texts}  # LanceDB quotes some names


def build_text_indexes(
    table: Any, listed: Sequence[Any], columns: Collection[str], rows: int, *, rebuild_indexes: bool
) -> bool:
    """Make the table have these and no others; True where too many rows are beside one.

    anew: build each of them, whatever there is.
    """
    found = indexes_by_column(listed)
    for column, one in found.items():
        if column not in columns or not rows:
            table.drop_index(one.name)
    for column in columns:
        if rows and (rebuild_indexes or column not in found):
            _build(table, column)
    kept = [one for column, one in found.items() if column in columns]
    return not rebuild_indexes and any(one.num_unindexed_rows > rows * TAIL_SHARE for one in kept)


def _build(table: Any, column: str) -> None:
    from lancedb.index import FTS

    # No stemming, no stop words: both are of one language. ICU parts Chinese, too.
    config = FTS(base_tokenizer="icu", stem=False, remove_stop_words=False)
    table.create_index(column, config=config, replace=True)


def match_query(table: Any, words: str, columns: Sequence[str], k: int, where: Any = None) -> Any:
    """A query for the k rows with the highest BM25 `_score` of any of the words."""
    from lancedb import query as of

    # LanceDB's classes take a text as it is, without a syntax of its own; they are not typed.
    made: Any = of.MatchQuery if len(columns) == 1 else of.MultiMatchQuery
    asked = made(words, columns[0] if len(columns) == 1 else list(columns))
    query = table.search(asked, query_type="fts").limit(k)
    return query if where is None else query.where(where, prefilter=True)
