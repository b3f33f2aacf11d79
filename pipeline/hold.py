"""Hold: a rollback lasts until a person promotes again, whatever runs offer meanwhile.

It stands in CURRENT, so the release and its hold move in one swap: there is no rollback without
its hold, and none that nobody made. Where CURRENT is damaged, nothing is promoted at all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hold:
    """Since when a space is held at what it serves, and why."""

    since: str
    """When it was rolled back: ISO 8601, UTC."""
    reason: str = ""

    def __str__(self) -> str:
        moment = self.since[:16].replace("T", " ")
        why = f": {self.reason}" if self.reason else ""
        return f"held since {moment} UTC by a rollback{why}"

    def sentence(self, space: str, served: int, waiting: int) -> str:
        """What is served, what waits, and how to go on.

        waiting: the release that a run would have promoted; `served` itself where nothing differs.
        """
        waits = f", release {waiting} waits" if waiting != served else ""
        serves = "serves it and " if waiting != served else ""
        return (
            f"{space} is HELD at release {served}{waits} ({self}). "
            f"`commonspace promote {space} {waiting}` {serves}lifts the hold"
        )
