"""pipeline/gates/gate.py"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Gate:
    """One check before anything is visible: what was found, what is allowed, what to look at."""

    name: str
    ok: bool
    value: float | None
    """None where there was nothing to look at."""
    limit: float
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
