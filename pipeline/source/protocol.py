"""What a source is: records in a stable order, and the way back to each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord


class Source(Protocol):
    """A place that items are pulled from; records are read one after the other."""

    def scan(self, scope: Scope) -> Iterator[Record | UnreadableRecord]:
        """Every record of the scope, in an order that only a changed source changes.

        A record that cannot be read is a value; a source that is not there raises
        SourceNotFound before the first record.
        """
        ...

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        """The records at those locators again, in that order, one for each."""
        ...
