"""The parts of a stack, in the order in which they are started."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from infra.stack import broker, health, postgres
from infra.stack.part import Check, Part
from infra.stack.settings import BUCKET, HOST, REPOSITORY, Settings, airflow_environment

SLOTS = {"default": 2, "gpu": 1}
"""Tasks that a worker of the queue executes at once."""

NO_LOGS = "--skip-serve-logs"
"""Every part reads the same log files; servers of logs would listen on every interface."""


def servers(settings: Settings) -> list[Part]:
    """What Airflow needs: the database, the broker, the bucket."""
    programs = postgres.binaries()
    cluster = postgres.make_cluster(settings, programs)
    parts = [
        _part(
            settings, "postgres", postgres.server_command(settings, programs, cluster),
            health.database(settings), f"{HOST}:{settings.ports.database}",
            {"PATH": os.defpath}, postgres.server_user(),
        )
    ]  # fmt: skip
    if settings.executor == "celery":
        check, address = health.broker(settings), f"{HOST}:{settings.ports.broker}"
        parts.append(_part(settings, "redis", broker.server_command(settings), check, address))
    if settings.warehouse == "bucket":
        serve = [sys.executable, "-m", "infra.stack.s3_server", BUCKET, str(settings.ports.bucket)]
        environment = {"PYTHONPATH": str(REPOSITORY)}
        check = health.http(f"{settings.bucket}/{BUCKET}")
        parts.append(_part(settings, "s3", serve, check, settings.bucket, environment))
    return parts


def airflow_command(*words: str) -> list[str]:
    """A command of the Airflow in this environment."""
    return [sys.executable, "-m", "airflow", *words]


def airflow_parts(settings: Settings) -> list[Part]:
    """Airflow's components, each a process of its own."""
    parts = [
        _airflow(settings, "api-server", health.http(f"{settings.api}/api/v2/version")),
        _airflow(
            settings, "scheduler", health.heartbeat(settings, "scheduler"), "scheduler", NO_LOGS
        ),
        _airflow(settings, "dag-processor", health.heartbeat(settings, "dag_processor")),
        _airflow(
            settings, "triggerer", health.heartbeat(settings, "triggerer"), "triggerer", NO_LOGS
        ),
    ]
    parts[0].address = settings.api
    # SIGTERM would wait ten seconds for a child that has ended; its triggers are in the database.
    parts[3].stop_signal = signal.SIGKILL
    if settings.executor == "celery":
        parts += [_worker(settings, queue) for queue in SLOTS]
    return parts


def _worker(settings: Settings, queue: str) -> Part:
    name, slots = f"{queue}@stack", SLOTS[queue]
    words = ["celery", "worker", "--queues", queue, "--concurrency", str(slots),
             "--celery-hostname", name, NO_LOGS]  # fmt: skip
    part = _airflow(settings, f"worker-{queue}", health.worker(settings, name), *words)
    part.address = f"{slots} at once, queue {queue!r}"
    return part


def _airflow(settings: Settings, name: str, check: Check, *words: str) -> Part:
    environment = airflow_environment(settings)
    return _part(settings, name, airflow_command(*words or [name]), check, "", environment)


def _part(
    settings: Settings, name: str, command: list[str], check: Check, address: str = "",
    environment: Mapping[str, str] | None = None, user: str | None = None,
) -> Part:  # fmt: skip
    log = settings.folder / "logs" / f"{name}.log"
    environment = {**os.environ, **(environment or {})}
    part = Part(name, command, environment, log, check, address, user)
    if name == "postgres":
        part.stop_signal = postgres.STOP_SIGNAL
    return part
