"""The protocol of a source: scan its records in a stable order, load some of them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from commonspace.pipeline.source.extents import Extent
from commonspace.pipeline.source.notices import Notice
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord

Scanned = Record | UnreadableRecord | Extent | Notice
"""What a scan yields."""


class Source(Protocol):
    """A place that items are pulled from."""

    def scan(self, scope: Scope) -> Iterator[Scanned]:
        """Every record of the scope; the order changes only when the source does.

        A record that cannot be read is yielded as UnreadableRecord; what is no record, and its
        owner should know of, as Notice. Behind the records of each file comes its Extent; of a
        source of kind `folder`, behind all of them that of each folder with items below it.

        Raises:
            SourceNotFound: before the first record, where the source is missing.
        """
        ...

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        """Read the records at those locators again: one for each, in their order."""
        ...
