"""Passages: the rows of a space with `overflow = "rows"`, one for each piece of a long text.

A passage's id is its item and its number: `whale.txt#00000`, also where a text has only one. What
is before the last `#` is always the item, so no two passages share an id, whatever ids the source
has.

For such a space the ledger counts passages; an item that `pull` could not read counts once. A
passage's digest is that of its own text: a changed sentence has its passage encoded again, and a
passage that only moved within its text keeps its vector and changes its offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.contract.columns import PASSAGE_FIELDS
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.source.records import sha256_hex
from commonspace.pipeline.storage.store import Store

FILE_ROWS = 65_536
"""After how many passages `PassageWriter` writes a file."""

PASSAGES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("row_digest", pa.string(), nullable=False),
        *PASSAGE_FIELDS,
    ]
)

Splitter = Callable[[str], list[tuple[int, int]]]
"""From a text to the start and end (exclusive) of each passage, in characters."""


def has_passages(space: SpaceSection) -> bool:
    """Whether the space has a row for each passage of a text, not for each item."""
    return space.overflow == "rows"


def passage_id(item: str, number: int) -> str:
    """The id of a passage. It sorts within its item up to 100,000 passages, beyond any prose."""
    return f"{item}#{number:05}"


def item_of_passage(passage: str) -> str:
    """The id of the item that a passage is of."""
    return passage.rpartition("#")[0]


def passage_row_digest(item: str, start: int, end: int) -> str:
    """The `row_digest` of a passage: that of its item, and where it stands."""
    return sha256_hex(f"{item}:{start}:{end}")[:32]


class PassageWriter:
    """Writes a space's passages to `<folder>/NNNNN.parquet`, in the order of the source."""

    def __init__(self, store: Store, folder: str, split: Splitter) -> None:
        self._store, self._folder, self._split = store, folder, split
        self._pending: list[dict[str, Any]] = []
        self._files = 0

    def add(self, item: Mapping[str, Any], text: str) -> None:
        """Add the passages of an item (`id`, `row_digest`) whose content is `text`."""
        for number, (start, end) in enumerate(self._split(text)):
            self._pending.append(
                {
                    "id": passage_id(item["id"], number),
                    "digest": sha256_hex(text[start:end]),
                    "row_digest": passage_row_digest(item["row_digest"], start, end),
                    "item": item["id"],
                    "passage": number,
                    "passage_start": start,
                    "passage_end": end,
                }
            )
        if len(self._pending) >= FILE_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added since the last file."""
        if self._pending:
            table = pa.Table.from_pylist(self._pending, PASSAGES_SCHEMA)
            self._store.put(f"{self._folder}/{self._files:05}.parquet", parquet_bytes(table))
            self._pending, self._files = [], self._files + 1


def read_passages(store: Store, folder: str, ids: pa.Array | None = None) -> pa.Table:
    """What `PassageWriter` wrote into the folder, or the rows of some ids: PASSAGES_SCHEMA."""
    files = ((key, store.read(key)) for key in store.list(folder))
    tables = (read_table(data, key) for key, data in files if data is not None)
    rows = tables if ids is None else (t.filter(pc.is_in(t["id"], value_set=ids)) for t in tables)
    return pa.concat_tables([PASSAGES_SCHEMA.empty_table(), *rows])


def join_items(passages: pa.Table, items: pa.Table) -> pa.Table:
    """Add to the passages those columns of their items (`id` among them) that they lack."""
    item_rows = pc.index_in(passages["item"], value_set=items["id"].combine_chunks())
    for name in (n for n in items.column_names if n not in passages.column_names):
        passages = passages.append_column(name, items[name].take(item_rows))
    return passages
