"""The spot check's verdict: sampled rows were encoded again and compared with what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.gates.gate import Gate


def spot_gate(checks: Sequence[Mapping[str, Any]], encoded: int, spec: EncoderSpec) -> Gate:
    """The gate over a run's spot checks, as they were noted; `encoded`: shards it made itself.

    A check that fails ends its process and drops what that has made; what stands was made by
    processes whose checks passed.
    """
    passed = [check for check in checks if check["ok"]]
    checked = sum(check["checked"] for check in passed)
    skipped = sum(check["skipped"] for check in passed)
    killed = sum(check.get("killed", 0) for check in passed)
    beside = f"; {skipped} could not be loaded any more" if skipped else ""
    beside += f"; {killed} kill the process that encodes them" if killed else ""
    if not checked:
        said = "no row could be compared" if encoded else "nothing was encoded"
        said += f"; nothing was re-encoded{beside}"
        return Gate("spot_check", True, None, spec.tolerance, said)
    angle = max(float(check["largest_angle"]) for check in passed)
    said = (
        f"{checked} sampled rows were encoded again: their largest angle to the stored vectors "
        f"is {angle:.3g} rad (tolerance {spec.tolerance:g}){beside}"
    )
    return Gate("spot_check", angle <= spec.tolerance, angle, spec.tolerance, said)
