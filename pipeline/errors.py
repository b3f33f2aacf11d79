"""The errors of the pipeline: one family, each with an exit code and a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from commonspace.encoders.errors import CommonspaceError

__all__ = [
    "NO_ID_COLUMN",
    "CommonspaceError",
    "Conflict",
    "ContractBroken",
    "GateRefused",
    "NestedTooDeeply",
    "NotPublished",
    "NothingOffered",
    "OutOfMemory",
    "PartitionNotFound",
    "SourceNotFound",
    "StoreFailed",
    "UserMistake",
    "did_you_mean",
]


NO_ID_COLUMN = 'A table without ids gets them by `generate_id = "content"`, or `"row"`, for `id`.'
"""What to do where no record has the column that `id` names."""


class UserMistake(CommonspaceError):
    """A collection file or a command with a mistake in it, which its author has to correct."""

    exit_code = 2


class SourceNotFound(UserMistake):
    """The source of a collection is missing, empty or not readable."""


class PartitionNotFound(SourceNotFound):
    """A partition has no files, though other partitions of the source have some."""


class NothingOffered(UserMistake):
    """The source offers no item for a space that has nothing published yet."""


class NotPublished(UserMistake):
    """A space, version or release that does not exist in the warehouse."""


class StoreFailed(CommonspaceError):
    """The warehouse could not be read or written."""


class ContractBroken(CommonspaceError):
    """Published data differs from its contract: spec, schema, checksum, or vectors and ids."""


class GateRefused(CommonspaceError):
    """A gate refused a release before any reader could see it.

    gates: what the gates measured, as manifests hold it; those that passed are included where
        they were evaluated.
    """

    def __init__(
        self,
        what: str,
        *,
        item: str | None = None,
        retry: bool = False,
        do: str = "",
        gates: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(what, item=item, retry=retry, do=do)
        self.gates = tuple(gates)

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "gates": list(self.gates)}


class OutOfMemory(CommonspaceError):
    """The process was refused memory that it asked for."""

    usual_retry = True
    usual_do = (
        "Give the process more memory, or let it do less at once: fewer rows a search, a smaller "
        "`shard_rows` in [run]. What a run has finished is kept."
    )


class NestedTooDeeply(CommonspaceError):
    """A value of the data, or of a file, has more levels than this program follows."""

    usual_do = "Look for lists or objects within each other, hundreds of levels deep."


class Conflict(CommonspaceError):
    """Another run published first; planning again from the new release resolves this."""

    usual_retry, usual_do = True, "Run again: it plans from the new release."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the closest known word, else ` (known: …)` with all of them."""
    known = sorted(set(known))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(known)})" if known else ""
