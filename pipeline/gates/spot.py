"""The spot check's result and its gate: sampled rows are encoded again and compared.

`encode/spot_check.py` makes the comparisons, where an encoder is loaded anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.gates.gate import Gate


@dataclass(frozen=True, kw_only=True)
class SpotCheckResult:
    """What one comparison of sampled rows found; stored as a note, or within `EncodeNote`.

    Attributes:
        limit: The largest angle that the encoder's spec allows, in radians.
        angle: The largest angle between a row's stored vector and its new one, in radians.
        item: The id of the row with that angle, or with the fault.
        checked: Rows that were compared.
        skipped: Rows whose content could not be loaded.
        crashed: Rows whose encoding crashes the process.
        fault: Why `item` gets no vector any more; empty where it does.
    """

    FILE: ClassVar[str] = "spot-*.json"

    limit: float
    angle: float = 0.0
    item: str = ""
    checked: int = 0
    skipped: int = 0
    crashed: int = 0
    fault: str = ""

    @property
    def ok(self) -> bool:
        return not self.fault and self.angle <= self.limit

    @property
    def what(self) -> str:
        """The breach in a sentence."""
        difference = f"is {self.angle:.3g} rad from the vector of its content"
        return (
            f"gate spot_check refused: the stored vector of {self.item!r} "
            f"{self.fault or difference}; the encoder's spec allows {self.limit:g} rad "
            f"({self.checked} rows were encoded again)"
        )

    @property
    def gate(self) -> Gate:
        """The gate over this check alone; no value where there is no angle to measure."""
        value = None if self.fault else self.angle
        return Gate("spot_check", self.ok, value, self.limit, self.what)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "largest_angle": self.angle,
            "limit": self.limit,
            "item": self.item,
            "checked": self.checked,
            "skipped": self.skipped,
            "killed": self.crashed,
            "fault": self.fault,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            limit=document["limit"],
            angle=document["largest_angle"],
            item=document["item"],
            checked=document["checked"],
            skipped=document["skipped"],
            crashed=document.get("killed", 0),
            fault=document["fault"],
        )


def spot_gate(checks: Sequence[SpotCheckResult], encoded_shards: int, spec: EncoderSpec) -> Gate:
    """The gate over all spot checks of a run.

    A check that fails ends its process and drops what that has made; the shards that exist
    were made by processes whose checks passed.

    Args:
        checks: the results that the run's processes have left.
        encoded_shards: how many shards this run has encoded itself.
        spec: its `tolerance` is the limit.
    """
    passed = [check for check in checks if check.ok]
    checked = sum(check.checked for check in passed)
    skipped = sum(check.skipped for check in passed)
    crashed = sum(check.crashed for check in passed)
    remarks = f"; {skipped} could not be loaded any more" if skipped else ""
    remarks += f"; {crashed} crash the process that encodes them" if crashed else ""
    if not checked:
        message = "no row could be compared" if encoded_shards else "nothing was encoded"
        message += f"; nothing was re-encoded{remarks}"
        return Gate("spot_check", True, None, spec.tolerance, message)
    angle = max(float(check.angle) for check in passed)
    message = (
        f"{checked} sampled rows were encoded again: their largest angle to the stored vectors "
        f"is {angle:.3g} rad (tolerance {spec.tolerance:g}){remarks}"
    )
    return Gate("spot_check", angle <= spec.tolerance, angle, spec.tolerance, message)
