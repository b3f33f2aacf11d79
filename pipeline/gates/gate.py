"""What a gate answers: one check before anything becomes visible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Gate:
    """What was measured, what is allowed, and in `message` what to look at.

    value: None where there was nothing to measure.
    """

    name: str
    ok: bool
    value: float | None
    limit: float
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**document)
