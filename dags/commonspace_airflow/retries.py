"""How often, and after which delay, a failed task is tried again."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

FIRST_DELAY, LONGEST_DELAY = 5.0, 300.0
"""Seconds."""


def retry_delay(try_number: int, luck: float) -> timedelta:
    """Twice as long after each try, and up to half of that more or less by luck in [0, 1)."""
    seconds = min(FIRST_DELAY * 2 ** (try_number - 1), LONGEST_DELAY)
    return timedelta(seconds=seconds * (0.5 + luck))


class JitteredBackoff(RetryPolicy):
    """Exponential delays with jitter.

    Airflow's own jitter is a hash of the task and the run's logical date. Runs of partitions have
    no logical date, so those that collided would all be tried again at the same moment.
    """

    def evaluate(
        self,
        exception: BaseException,  # noqa: ARG002
        try_number: int,
        max_tries: int,  # noqa: ARG002
        context: Any = None,  # noqa: ARG002
    ) -> RetryDecision:
        luck = random.random()  # noqa: S311 - spreads load, keeps no secret
        return RetryDecision.retry(retry_delay(try_number, luck))


RETRIES: dict[str, Any] = {
    "retries": 4,
    "retry_policy": JitteredBackoff(),
    # For a worker that was killed: nobody is left to ask the policy.
    "retry_delay": timedelta(seconds=FIRST_DELAY),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(seconds=LONGEST_DELAY),
}
"""Arguments of every task that may succeed when it is tried again. A stage that cannot says so
itself, and its task fails at once."""
