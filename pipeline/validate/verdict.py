"""The verdict over a run: its ledger, its gates, and whether it may be published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.ledger import Ledger
from commonspace.pipeline.source.notices import NoticeCount


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run amounts to; stored for `publish` and for the report.

    Attributes:
        ledger: Every offered item in exactly one state.
        gates: In the order in which people are shown them.
        rejects: What this run rejected, in words: counts by reason, then the first items.
        seconds: What validating took.
        notices: What the run met while it encoded that is neither an item nor a reject.
    """

    FILE: ClassVar[str] = "verdict.json"

    ledger: Ledger
    gates: tuple[Gate, ...]
    rejects: tuple[str, ...]
    seconds: float = 0.0
    notices: tuple[NoticeCount, ...] = ()

    def enforce(self, space: str) -> None:
        """Do nothing where every gate passes.

        Raises:
            GateRefused: naming every gate that does not.
        """
        refused = [gate for gate in self.gates if not gate.ok]
        if refused:
            raise GateRefused(
                "; ".join(f"gate {gate.name} refused: {gate.message}" for gate in refused),
                item=space,
                do="\n  ".join(
                    [
                        *(["Rejected:", *self.rejects] if self.rejects else []),
                        "Nothing was published; readers still see what they saw before. The limits "
                        "are in [gates] of the collection file.",
                    ]
                ),
                gates=[gate.to_json() for gate in self.gates],
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "ledger": self.ledger.to_json(),
            "gates": [gate.to_json() for gate in self.gates],
            "rejects": list(self.rejects),
            "seconds": self.seconds,
            "notices": [notice.to_json() for notice in self.notices],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            ledger=Ledger.from_json(document["ledger"]),
            gates=tuple(map(Gate.from_json, document["gates"])),
            rejects=tuple(document["rejects"]),
            seconds=document["seconds"],
            notices=tuple(map(NoticeCount.from_json, document.get("notices", ()))),
        )
