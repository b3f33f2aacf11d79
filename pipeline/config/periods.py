"""Time in a collection file: durations, and the partitions of hours, days and months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

Period = Literal["hour", "day", "month"]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _parse_duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,6})([mhd])", value)
    if match is None:
        raise ValueError('must be a duration such as "90m", "36h" or "7d"')
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _check_positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than nothing")
    return value


Duration = Annotated[timedelta, BeforeValidator(_parse_duration)]
"""Written as a whole number of minutes, hours or days: `"90m"`, `"36h"`, `"7d"`."""
PositiveDuration = Annotated[Duration, AfterValidator(_check_positive)]


@dataclass(frozen=True)
class Cadence:
    """Partitions by hour, day or month, each named by the moment in UTC at which it starts.

    preset: Airflow's name of the schedule, such as `@daily`.
    cron: ticks at the start of every partition, and at no other moment.
    key_format: how a partition is written, for `strftime`.
    max_length: of the longest partition.
    """

    preset: str
    cron: str
    key_format: str
    max_length: timedelta

    @property
    def example(self) -> str:
        """A partition's name, to be shown to people."""
        return datetime(2026, 1, 31, 7, tzinfo=UTC).strftime(self.key_format)

    def partition_start(self, key: str) -> datetime:
        """When the partition starts, in UTC.

        Raises:
            ValueError: the key names no partition.
        """
        moment = datetime.strptime(key, self.key_format).replace(tzinfo=UTC)
        if self.partition_at(moment) != key:  # strptime takes 2026-1-5
            raise ValueError(f"{key!r} is not written as {self.partition_at(moment)!r}")
        return moment

    def partition_end(self, key: str) -> datetime:
        """When the partition ends and the next one starts, in UTC.

        Raises:
            ValueError: the key names no partition.
        """
        return self.partition_start(self.partition_at(self.partition_start(key) + self.max_length))

    def partition_at(self, moment: datetime) -> str:
        """The key of the partition that holds a moment in time."""
        return moment.astimezone(UTC).strftime(self.key_format)


CADENCES: dict[str, Cadence] = {
    "hour": Cadence("@hourly", "0 * * * *", "%Y-%m-%dT%H", timedelta(hours=1)),
    "day": Cadence("@daily", "0 0 * * *", "%Y-%m-%d", timedelta(days=1)),
    "month": Cadence("@monthly", "0 0 1 * *", "%Y-%m", timedelta(days=31)),
}


def schedule_problem(period: Period, schedule: str | None) -> str | None:
    """What is wrong with the schedule of a collection that has such partitions, or None.

    Airflow names a partition by a tick of the schedule. Where that is not the partition's first
    moment, a backfill leaves out the last partition and repeats one that was run by hand.
    """
    cadence = CADENCES[period]
    if schedule in (cadence.preset, cadence.cron):
        return None
    return (
        f'`partitions = "{period}"` needs `schedule = "{cadence.preset}"`, or `schedule_on`: a run '
        "starts when its partition has ended; `late_by` sets how long it waits for late files"
    )
