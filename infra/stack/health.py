"""Is a part well? Each check asks the part itself, as its clients will."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from infra.stack.part import Check
from infra.stack.settings import HOST, Settings

SECONDS = 5.0
"""For one answer."""
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy knows this machine's loopback."""


def _get(address: str) -> Any:
    try:
        with _direct.open(address, timeout=SECONDS) as answer:
            return answer.read()
    except (OSError, urllib.error.URLError):
        return None


def http(address: str) -> Check:
    """Something answers there with a status that is no error."""
    return lambda _since: _get(address) is not None


def database(settings: Settings) -> Check:
    """PostgreSQL accepts its superuser."""
    import psycopg2

    def well(_since: float) -> bool:
        try:
            psycopg2.connect(
                host=HOST, port=settings.ports.database, user="postgres", dbname="postgres",
                password=settings.credentials.database_superuser, connect_timeout=5,
            ).close()  # fmt: skip
        except psycopg2.OperationalError:
            return False
        return True

    return well


def broker(settings: Settings) -> Check:
    """Redis answers a PING under its password."""
    from redis import Redis, RedisError

    def well(_since: float) -> bool:
        try:
            return bool(Redis.from_url(settings.broker, socket_timeout=SECONDS).ping())
        except RedisError:
            return False

    return well


def heartbeat(settings: Settings, component: str) -> Check:
    """The API server has seen a heartbeat of the component since it was started."""

    def well(since: float) -> bool:
        answer = _get(f"{settings.api}/api/v2/monitor/health")
        told = json.loads(answer).get(component) if answer else None
        if not told or told["status"] != "healthy":
            return False
        latest = told[f"latest_{component}_heartbeat"]
        return bool(latest) and datetime.fromisoformat(latest).timestamp() >= since

    return well


def worker(settings: Settings, name: str) -> Check:
    """The Celery worker answers a ping through the broker."""
    from celery import Celery

    app = Celery(broker=settings.broker)

    def well(_since: float) -> bool:
        try:
            return bool(app.control.ping(destination=[name], timeout=2.0))
        except OSError:
            return False

    return well
