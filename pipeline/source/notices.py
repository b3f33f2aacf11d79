"""Notices: what a run met that is neither an item nor a reject, counted for the owner to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

SHOWN_EXAMPLES = 3


class NoticeKind(StrEnum):
    """What a notice is of: a closed list; scripts may rely on the codes."""

    LEFT_OUT = "left_out"
    """A file of the source that is no item."""
    BAD_CELL = "bad_cell"
    """A metadata value that cannot be read as its declared type; the row has null there."""
    MISSING_FIELD = "missing_field"
    """A field that the collection file names and no record of the partition has, or none that could
    be read."""
    RECIPE_RECORDED = "recipe_recorded"
    """A space from before content recipes were recorded gets its own, from the collection file."""
    RECIPE_UNKNOWN = "recipe_unknown"
    """Such a space was run in part, which cannot tell what the rest of it was made of."""
    FILE_GONE = "file_gone"
    """Published rows of a file that is not there any more."""
    FOLDER_GONE = "folder_gone"
    """Published rows of a folder that is not there any more, or has no item left."""
    FILE_EMPTY = "file_empty"
    """Published rows of a file that has no record any more."""
    FILE_CUT = "file_cut"
    """Published rows of a file that ends before its format allows, or earlier than it did."""
    FILE_UNREADABLE = "file_unreadable"
    """Published rows of a file that is damaged, encrypted or of another format."""
    NOT_OFFERED = "not_offered"
    """An id that a run is limited to, and that no record of the source has."""
    RECORD_UNREADABLE = "record_unreadable"
    """Published rows of a file that has records without an id that can be read, maybe theirs."""
    SUPERSEDED = "superseded"
    """A record that is not taken, because a newer one of its id is."""
    SAME_CONTENT = "same_content"
    """A record that is no item, because an earlier one has its content, of which ids are made."""
    NO_CONTENT = "no_content"
    """A record that is no item, because it has no content, of which ids are made."""
    TAKEN_OVER = "taken_over"
    """An item whose row was another partition's, and is this one's now."""
    CONTENT_CUT = "content_cut"
    """Published rows of items whose file is empty now, or ends too early to be read."""
    CONTENT_GONE = "content_gone"
    """Published rows of items whose file is not there any more, or cannot be opened."""
    VECTORS_FOUND = "vectors_found"
    """Contents whose vectors another release holds, by the same encoder; they are taken over."""
    SOURCE_SKIPPED = "source_skipped"
    """What is damaged, or may not be read: no vector is taken over from it."""


@dataclass(frozen=True)
class Notice:
    """One thing that a run met.

    Attributes:
        kind: What it is.
        about: The group that it is counted in, such as `suffix .db`; a run has few of them.
        example: The file or the place where it was met; empty where the group says all.
    """

    kind: NoticeKind
    about: str
    example: str = ""


@dataclass(frozen=True)
class NoticeCount:
    """How often a run met something, with the first few examples."""

    kind: NoticeKind
    about: str
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`left out: 3 (suffix .db), such as 'a.db', 'b.db'`."""
        such_as = f", such as {', '.join(map(repr, self.examples))}" if self.examples else ""
        return f"{self.kind.replace('_', ' ')}: {self.count:,} ({self.about}){such_as}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": str(self.kind), "examples": list(self.examples)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        kind, examples = NoticeKind(document["kind"]), tuple(document["examples"])
        return cls(kind, document["about"], document["count"], examples)


class Notices:
    """Counts notices by kind and group; its memory grows with the groups alone."""

    def __init__(self) -> None:
        self._counts: dict[tuple[NoticeKind, str], int] = {}
        self._examples: dict[tuple[NoticeKind, str], list[str]] = {}

    def add(self, notice: Notice, count: int = 1) -> None:
        """Count a notice, or `count` equal ones."""
        key = notice.kind, notice.about
        self._counts[key] = self._counts.get(key, 0) + count
        examples = self._examples.setdefault(key, [])
        if notice.example and len(examples) < SHOWN_EXAMPLES:
            examples.append(notice.example)

    def counts(self) -> tuple[NoticeCount, ...]:
        """A count for each group, in the order in which the groups were first met."""
        return tuple(
            NoticeCount(kind, about, count, tuple(self._examples[kind, about]))
            for (kind, about), count in self._counts.items()
        )
