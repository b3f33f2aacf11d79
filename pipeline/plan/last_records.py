"""Last records of files without a final line end: whole, or without their own last words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.pull.extents import Extents

Content = frozenset[tuple[str, str, str]]
"""The id, content digest and row digest of each row of an item."""


def doubtful_items(extents: Extents, unterminated: Collection[str]) -> dict[str, str]:
    """The file of each item that is such a last record.

    Args:
        extents: how far each file was read.
        unterminated: files that are known to be written without a final line end.
    """
    known = set(unterminated)
    return {last.id: file for file, last in extents.doubtful.items() if file not in known}


def changed_items(
    doubtful: Mapping[str, str], items: pa.Table, published: pa.Table, item_column: str
) -> tuple[dict[str, str], frozenset[str]]:
    """Those of the doubtful items that are offered otherwise than they are published.

    Args:
        doubtful: the file of each, as `doubtful_items` gives it.
        items: what is offered: `item_column`, `id`, `digest`, `row_digest`, `source_uri`.
        published: their published rows: the same, with `content_digest` for `digest`.
        item_column: the column that names the item of a row.

    Returns:
        their files by item, new items among them; and the files whose own rows they would change.
    """
    offered = _contents(items, item_column, "digest", doubtful)
    before = _contents(published, item_column, "content_digest", None)
    changed, files = {}, set()
    for (item, file), content in offered.items():
        if before.get((item, file)) != content:
            changed[item] = file
            if (item, file) in before:
                files.add(file)
    return changed, frozenset(files)


def _contents(
    rows: pa.Table, item_column: str, digest: str, files: Mapping[str, str] | None
) -> dict[tuple[str, str], Content]:
    """The content of each item and file; with `files`, only of their items, in their files."""
    if files is not None:
        rows = rows.filter(pc.is_in(rows[item_column], value_set=pa.array(files, pa.string())))
    found: dict[tuple[str, str], set[tuple[str, str, str]]] = defaultdict(set)
    for row in rows.to_pylist():
        item, file = row[item_column], row["source_uri"]
        if files is None or files[item] == file:
            found[item, file].add((row["id"], row[digest], row["row_digest"]))
    return {key: frozenset(content) for key, content in found.items()}
