"""Verify: is the canary there, and does the encoder still make its vectors?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.canary.check import check_canary
from commonspace.pipeline.canary.reference import read_published_canary
from commonspace.pipeline.maintenance.served_space import ServedSpace
from commonspace.pipeline.read.query_encoder import unchecked_encoder


@dataclass(frozen=True, kw_only=True)
class CanaryStatus:
    """What is known of a space's canary.

    Attributes:
        run: The run that made it.
        probes: How many it has.
        without_vector: How many of them have a reason why there is no vector.
        tolerance: The largest angle that the space's spec allows, in radians.
        largest_angle: What the encoder was measured to have; None where it was not tried.
        device: On which the encoder was tried.
    """

    run: str
    probes: int
    without_vector: int
    tolerance: float
    largest_angle: float | None = None
    device: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def verify_canary(
    space: ServedSpace, *, try_encoder: bool
) -> tuple[CanaryStatus | None, list[str]]:
    """The state of the canary, None where there is none to be read, and what is wrong.

    Args:
        space: what is served.
        try_encoder: whether the encoder is loaded and encodes the probes.
    """
    try:
        canary = read_published_canary(
            space.store, space.name, space.contract, space.release.canary
        )
    except CommonspaceError as error:
        return None, [f"{error.item}: {error.what}. {error.do} --repair cannot make a new one."]
    if canary is None:
        return None, []
    status = CanaryStatus(
        run=canary.origin["run"],
        probes=len(canary.probes),
        without_vector=sum(reason is not None for reason in canary.reasons),
        tolerance=space.contract.spec.tolerance,
    )
    if not try_encoder:
        return status, []
    try:
        check = check_canary(canary, unchecked_encoder(space.release, space.contract))
    except CommonspaceError as error:
        return status, [f"the canary cannot be checked: {error}"]
    status = replace(status, largest_angle=check.angle, device=check.device)
    return status, [] if check.ok else [f"{check.what}. {check.do}"]
