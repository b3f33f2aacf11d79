"""The protocol of a source: scan its records in a stable order, load some of them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from commonspace.pipeline.source.extents import AtEnd, ignore
from commonspace.pipeline.source.notices import Notice
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord


class Source(Protocol):
    """A place that items are pulled from; it yields its records one at a time."""

    def scan(
        self, scope: Scope, at_end: AtEnd = ignore
    ) -> Iterator[Record | UnreadableRecord | Notice]:
        """Every record of the scope; the order changes only when the source does.

        A record that cannot be read is yielded as UnreadableRecord; what is no record, and its
        owner should know of, as Notice. `at_end` is told of each file after its records; of a
        source of kind `folder`, of each folder with items below it.

        Raises:
            SourceNotFound: before the first record, where the source is missing.
        """
        ...

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        """Read the records at those locators again: one for each, in their order."""
        ...
