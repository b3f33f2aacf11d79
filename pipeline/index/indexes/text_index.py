"""Full-text indexes of a LanceDB table: words as they are written, case and accents aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from commonspace.pipeline.index.indexes.policy import TAIL_SHARE
from commonspace.pipeline.index.table import Filter, ListedIndex, Query, Table


def indexes_by_column(listed: Sequence[ListedIndex]) -> dict[str, ListedIndex]:
    """The full-text indexes among those that `list_indices` gives."""
    text_indexes = (index for index in listed if index.index_type == "FTS")
    # LanceDB puts some names into backticks.
    return {index.columns[0].strip("`"): index for index in text_indexes}


def build_text_indexes(
    table: Table,
    listed: Sequence[ListedIndex],
    columns: Collection[str],
    rows: int,
    *,
    rebuild_indexes: bool,
) -> bool:
    """Give the table full-text indexes over these columns and no others.

    Args:
        table: at its latest version.
        listed: what its `list_indices` gives.
        columns: the columns that get an index.
        rows: how many rows the table has.
        rebuild_indexes: build every index, even where there is one.

    Returns:
        whether too many rows are not yet in an index that was left as it is.
    """
    existing = indexes_by_column(listed)
    for column, index in existing.items():
        if column not in columns or not rows:
            table.drop_index(index.name)
    for column in columns:
        if rows and (rebuild_indexes or column not in existing):
            _build(table, column)
    kept = [index for column, index in existing.items() if column in columns]
    is_behind = any(index.num_unindexed_rows > rows * TAIL_SHARE for index in kept)
    return not rebuild_indexes and is_behind


def match_query(
    table: Table, words: str, columns: Sequence[str], k: int, where: Filter | None = None
) -> Query:
    """A query for the k rows with the highest BM25 `_score` of any of the words."""
    from lancedb.query import MatchQuery, MultiMatchQuery  # lancedb takes two seconds to load

    # LanceDB's classes take a text as it is, without a syntax of its own; they are not typed.
    query_class: Any = MatchQuery if len(columns) == 1 else MultiMatchQuery
    match = query_class(words, columns[0] if len(columns) == 1 else list(columns))
    query = table.search(match, query_type="fts").limit(k)
    return query if where is None else query.where(where, prefilter=True)


def _build(table: Table, column: str) -> None:
    from lancedb.index import FTS  # lancedb takes two seconds to load

    # No stemming, no stop words: both depend on one language. ICU splits Chinese, too.
    config = FTS(base_tokenizer="icu", stem=False, remove_stop_words=False)
    table.create_index(column, config=config, replace=True)
