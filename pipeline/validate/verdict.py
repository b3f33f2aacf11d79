"""pipeline/validate/verdict.py"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.ledger import Ledger


@dataclass(frozen=True)
class Verdict:
    """What a run amounts to, and whether it may be published."""

    ledger: Ledger
    gates: tuple[Gate, ...]
    rejects: tuple[str, ...]
    """What this run rejected, in words: counts by reason, then the first items."""

    def to_json(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {
            "ledger": self.ledger.to_json(),
            "gates": [gate.to_json() for gate in self.gates],
            "rejects": self.rejects,
        }

    def enforce(self, space: str) -> None:
        """Raises GateRefused, naming every gate that did not hold."""
        broken = [gate for gate in self.gates if not gate.ok]
        if broken:
            raise GateRefused(
                "; ".join(f"gate {gate.name} refused: {gate.message}" for gate in broken),
                item=space,
                do="\n  ".join(
                    [
                        *(["Rejected:", *self.rejects] if self.rejects else []),
                        "Nothing was published; what was served before is served still. Limits "
                        "stand in [gates] of the collection file.",
                    ]
                ),
                gates=[gate.to_json() for gate in self.gates],
            )
