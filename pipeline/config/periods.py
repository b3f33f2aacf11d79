"""Periods of time in a collection file: durations, and the partitions that a schedule makes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator

Period = Literal["hour", "day", "month"]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d{1,6})([mhd])", value)
    if found is None:
        raise ValueError('must be a duration such as "90m", "36h" or "7d"')
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


Duration = Annotated[timedelta, BeforeValidator(_duration)]
"""Written as a whole number of minutes, hours or days: `"90m"`, `"36h"`, `"7d"`."""


@dataclass(frozen=True)
class Cadence:
    """Partitions of one length, each named by the moment in UTC at which it begins."""

    preset: str
    cron: str
    """Ticks at the beginning of every partition, and at no other moment."""
    key_format: str
    longest: timedelta

    def begins(self, key: str) -> datetime:
        """When the partition begins. Raises ValueError where the key names none."""
        moment = datetime.strptime(key, self.key_format).replace(tzinfo=UTC)
        if self.key(moment) != key:  # strptime takes 2026-1-5
            raise ValueError(f"{key!r} is not written as {self.key(moment)!r}")
        return moment

    def ends(self, key: str) -> datetime:
        """When the partition has ended. Raises ValueError where the key names none."""
        return self.begins(self.key(self.begins(key) + self.longest))

    def key(self, moment: datetime) -> str:
        """The partition that holds a moment in time."""
        return moment.astimezone(UTC).strftime(self.key_format)


CADENCES: dict[str, Cadence] = {
    "hour": Cadence("@hourly", "0 * * * *", "%Y-%m-%dT%H", timedelta(hours=1)),
    "day": Cadence("@daily", "0 0 * * *", "%Y-%m-%d", timedelta(days=1)),
    "month": Cadence("@monthly", "0 0 1 * *", "%Y-%m", timedelta(days=31)),
}


def schedule_fault(period: Period, schedule: str | None) -> str | None:
    """What is wrong with the schedule of a collection whose partitions are that long.

    Airflow names a partition by a tick of the schedule. Where that is not the partition's first
    moment, its backfill drops the last partition and takes one again that was run by hand.
    """
    cadence = CADENCES[period]
    if schedule in (cadence.preset, cadence.cron):
        return None
    return (
        f'`partitions = "{period}"` needs `schedule = "{cadence.preset}"`, or `schedule_on`: a run '
        "starts when its partition has ended; `late_by` says how long it waits for late files"
    )
