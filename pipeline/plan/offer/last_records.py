"""Last records of files without a final line end: whole, or without their own last words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Set

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.pull.extents import Extents

Content = frozenset[tuple[str, str, str]]
"""The id, content digest and row digest of each row of an item."""


def doubtful_items(extents: Extents, unterminated: Collection[str]) -> frozenset[tuple[str, str]]:
    """The item and the file of each such last record; several files may end with one item.

    Args:
        extents: how far each file was read.
        unterminated: files that are known to be written without a final line end.
    """
    known = set(unterminated)
    pairs = ((last.id, file) for file, last in extents.doubtful.items() if file not in known)
    return frozenset(pairs)


def changed_items(
    doubtful: Set[tuple[str, str]], items: pa.Table, published: pa.Table, item_column: str
) -> tuple[dict[str, str], frozenset[str]]:
    """Those of the doubtful items that are offered otherwise than they are published.

    Args:
        doubtful: the item and the file of each, as `doubtful_items` gives them.
        items: what is offered: `item_column`, `id`, `digest`, `row_digest`, `source_uri`.
        published: their published rows: the same, with `content_digest` for `digest`.
        item_column: the column that names the item of a row.

    Returns:
        their files by item, new items among them; and the files whose own rows they would change.
    """
    ids = pa.array({item for item, _ in doubtful}, pa.string())
    items = items.filter(pc.is_in(items[item_column], value_set=ids))
    offered = _contents(items, item_column, "digest")
    before = _contents(published, item_column, "content_digest")
    changed, files = {}, set()
    for (item, file), content in offered.items():
        if (item, file) in doubtful and before.get((item, file)) != content:
            changed[item] = file
            if (item, file) in before:
                files.add(file)
    return changed, frozenset(files)


def _contents(rows: pa.Table, item_column: str, digest: str) -> dict[tuple[str, str], Content]:
    """The content of each item and file."""
    found: dict[tuple[str, str], set[tuple[str, str, str]]] = defaultdict(set)
    for row in rows.to_pylist():
        found[row[item_column], row["source_uri"]].add((row["id"], row[digest], row["row_digest"]))
    return {key: frozenset(content) for key, content in found.items()}
