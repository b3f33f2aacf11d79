"""What publishing and promoting leave for the stages after them, and for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from commonspace.pipeline.workspace.notes import PlainNote


@dataclass(frozen=True, kw_only=True)
class PublishNote(PlainNote):
    """The release that the run has published: a new candidate, or its base if nothing changed."""

    FILE: ClassVar[str] = "publish.json"

    release: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PromotionNote(PlainNote):
    """How the run's promotion ended.

    Attributes:
        release: The release that readers see.
        promoted: Whether this run has promoted it; False where it was served already.
        seconds: What promoting took, LanceDB's share included; None where it is not known.
    """

    FILE: ClassVar[str] = "promote.json"

    release: int
    promoted: bool = False
    seconds: float | None = None
