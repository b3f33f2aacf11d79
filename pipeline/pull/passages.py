"""Passages: the rows of a space with `overflow = "rows"`, one for each piece of a long text.

A passage is called by its item and its number: `whale.txt#00000`. So is the only passage of a
short text: what stands before the last `#` is always the item, and whatever ids a source has,
two passages never share one.

For such a space the ledger counts passages, and what `pull` could not read as the one thing it
is. Their digests are those of the passages' own text: a changed sentence encodes its passage
anew, and what only moved in its text keeps its vector and changes its offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.sections import SpaceSection, space_key
from commonspace.pipeline.contract.columns import PASSAGE_FIELDS
from commonspace.pipeline.contract.parquet import parquet_bytes, read_table
from commonspace.pipeline.source.records import sha256_hex
from commonspace.pipeline.storage.store import Store

FILE_ROWS = 65_536

PASSAGES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("row_digest", pa.string(), nullable=False),
        *PASSAGE_FIELDS,
    ]
)

Cut = Callable[[str], list[tuple[int, int]]]


def has_passages(space: SpaceSection) -> bool:
    """Whether the space has a row for each passage of a text."""
    return space.overflow == "rows"


def passage_id(item: str, number: int) -> str:
    """Sorts within its item up to 100,000 passages, more than the longest text makes in prose."""
    return f"{item}#{number:05}"


def item_of_passage(passage: str) -> str:
    """The item of a passage's id."""
    return passage.rpartition("#")[0]


class PassageFiles:
    """What `pull` writes of a space's passages: `<folder>/NNNNN.parquet`, in the source's order."""

    def __init__(self, store: Store, folder: str, cut: Cut) -> None:
        self._store, self._folder, self._cut = store, folder, cut
        self._waiting: list[dict[str, Any]] = []
        self._written = 0

    def add(self, item: Mapping[str, Any], text: str) -> None:
        """Take the passages of an item (`id`, `row_digest`) whose content is `text`."""
        for number, (start, end) in enumerate(self._cut(text)):
            self._waiting.append(
                {
                    "id": passage_id(item["id"], number),
                    "digest": sha256_hex(text[start:end]),
                    "row_digest": sha256_hex(f"{item['row_digest']}:{start}:{end}")[:32],
                    "item": item["id"],
                    "passage": number,
                    "passage_start": start,
                    "passage_end": end,
                }
            )
        if len(self._waiting) >= FILE_ROWS:
            self.write()

    def write(self) -> None:
        """Write what has been taken since the last file."""
        if self._waiting:
            table = pa.Table.from_pylist(self._waiting, PASSAGES_SCHEMA)
            self._store.put(f"{self._folder}/{self._written:05}.parquet", parquet_bytes(table))
            self._waiting, self._written = [], self._written + 1


def passages_folder(run_folder: str, space: SpaceSection) -> str:
    """Where the passages of a space lie in a run's folder."""
    return f"{run_folder}/passages/{space_key(space)}"


def read_passages(store: Store, folder: str, ids: pa.Array | None = None) -> pa.Table:
    """PASSAGES_SCHEMA rows: what `PassageFiles` wrote, or those of some ids of it."""
    found = ((key, store.read(key)) for key in store.list(folder))
    tables = (read_table(data, key) for key, data in found if data is not None)
    kept = tables if ids is None else (t.filter(pc.is_in(t["id"], value_set=ids)) for t in tables)
    return pa.concat_tables([PASSAGES_SCHEMA.empty_table(), *kept])


def join_items(passages: pa.Table, items: pa.Table) -> pa.Table:
    """The passages with the columns of their items (`id` among them) that they lack."""
    at = pc.index_in(passages["item"], value_set=items["id"].combine_chunks())
    for name in (n for n in items.column_names if n not in passages.column_names):
        passages = passages.append_column(name, items[name].take(at))
    return passages
