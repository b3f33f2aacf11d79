"""What the parts of a stack are given, whatever the machine's environment says."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from infra.stack.credentials import Credentials
from infra.stack.health import http
from infra.stack.settings import (
    HOST,
    PORTS,
    REPOSITORY,
    Ports,
    Settings,
    airflow_environment,
    free_port,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, "celery", "bucket", REPOSITORY, Credentials(), Ports())


def test_no_port_is_given_twice_or_is_one_of_the_clients() -> None:
    """Nothing has bound the first by the time the second is drawn."""
    drawn = [free_port() for _ in range(500)]
    assert len(set(drawn)) == 500
    assert set(drawn) <= set(PORTS)
    clients = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if clients.exists():
        first, last = map(int, clients.read_text().split())
        if first <= PORTS[-1]:
            pytest.skip(f"this machine's clients take ports from {first} on")
        assert not [port for port in drawn if first <= port <= last]


def test_a_proxy_is_not_asked_for_the_loopback(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://{HOST}:9")  # discards, if anything listens at all
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.delenv("no_proxy", raising=False)
    server = HTTPServer((HOST, 0), SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://{HOST}:{server.server_port}/"
    assert http(address)(0.0)
    environment = airflow_environment(settings)
    assert environment["NO_PROXY"] == environment["no_proxy"] == f"example.org,{HOST}"
    ask = f"import urllib.request; urllib.request.urlopen({address!r}, timeout=10)"
    subprocess.run([sys.executable, "-c", ask], env=environment, check=True)
    server.shutdown()
