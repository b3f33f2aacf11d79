"""What publishing and promoting leave for the stages after them, and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from commonspace.pipeline.workspace.notes import known_fields


@dataclass(frozen=True, kw_only=True)
class PublishNote:
    """The release that the run has published: a new candidate, or its base if nothing changed."""

    FILE: ClassVar[str] = "publish.json"

    release: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**known_fields(cls, document))


@dataclass(frozen=True, kw_only=True)
class PromotionNote:
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**known_fields(cls, document))
