"""Checks of whether a part is healthy; each asks the part itself, as its clients do."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import datetime

from infra.stack.part import Check
from infra.stack.settings import HOST, Settings

TIMEOUT = 5.0
"""Seconds for one answer."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses without a proxy, which could not reach this machine's loopback."""


def http(address: str) -> Check:
    """Healthy where the address answers with a status that is no error."""
    return lambda _since: _get(address) is not None


def database(settings: Settings) -> Check:
    """Healthy where PostgreSQL accepts its superuser."""
    import psycopg2

    def is_healthy(_since: float) -> bool:
        try:
            psycopg2.connect(
                host=HOST, port=settings.ports.database, user="postgres", dbname="postgres",
                password=settings.credentials.database_superuser, connect_timeout=5,
            ).close()  # fmt: skip
        except psycopg2.OperationalError:
            return False
        return True

    return is_healthy


def broker(settings: Settings) -> Check:
    """Healthy where Redis answers a PING with its password."""
    from redis import Redis, RedisError

    def is_healthy(_since: float) -> bool:
        try:
            return bool(Redis.from_url(settings.broker, socket_timeout=TIMEOUT).ping())
        except RedisError:
            return False

    return is_healthy


def heartbeat(settings: Settings, component: str) -> Check:
    """Healthy where the API server has seen a heartbeat of the component since it was started."""

    def is_healthy(since: float) -> bool:
        answer = _get(f"{settings.api}/api/v2/monitor/health")
        state = json.loads(answer).get(component) if answer else None
        if not state or state["status"] != "healthy":
            return False
        latest = state[f"latest_{component}_heartbeat"]
        return bool(latest) and datetime.fromisoformat(latest).timestamp() >= since

    return is_healthy


def worker(settings: Settings, name: str) -> Check:
    """Healthy where the Celery worker answers a ping through the broker."""
    from celery import Celery

    app = Celery(broker=settings.broker)

    def is_healthy(_since: float) -> bool:
        try:
            return bool(app.control.ping(destination=[name], timeout=2.0))
        except OSError:
            return False

    return is_healthy


def _get(address: str) -> bytes | None:
    try:
        with _direct.open(address, timeout=TIMEOUT) as answer:
            return bytes(answer.read())
    except (OSError, urllib.error.URLError):
        return None
