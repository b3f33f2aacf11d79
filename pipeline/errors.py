"""What can go wrong between a source and a reader. All of it is one family."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from commonspace.encoders.errors import CommonspaceError

__all__ = [
    "CommonspaceError",
    "Conflict",
    "ContractBroken",
    "GateRefused",
    "NotPublished",
    "NothingOffered",
    "PartitionNotFound",
    "SourceNotFound",
    "StoreFailed",
    "UserMistake",
    "did_you_mean",
]


class UserMistake(CommonspaceError):
    """A collection file or a command that cannot be meant as it stands."""

    exit_code = 2


class SourceNotFound(UserMistake):
    """The place a collection pulls from is missing, empty or closed to us."""


class PartitionNotFound(SourceNotFound):
    """A partition without files, where other partitions have some."""


class NothingOffered(UserMistake):
    """A source, or a partition of it, without an item for a space that was never published."""


class NotPublished(UserMistake):
    """A space, version or release that nobody has published."""


class StoreFailed(CommonspaceError):
    """The warehouse could not be read or written."""


class ContractBroken(CommonspaceError):
    """Something published differs from what was agreed: spec, schema, checksum or pairing."""


class GateRefused(CommonspaceError):
    """A gate stopped a release before anybody could see it.

    gates: what was measured, as manifests hold it; those that held are among them where they
    were looked at.
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


class Conflict(CommonspaceError):
    """Another run published first; planning again from the new release resolves it."""

    def __init__(
        self,
        what: str,
        *,
        item: str | None = None,
        retry: bool = True,
        do: str = "Run again: it plans from the new release.",
    ) -> None:
        super().__init__(what, item=item, retry=retry, do=do)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)`, or what there is to choose from."""
    known = sorted(set(known))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(known)})" if known else ""
