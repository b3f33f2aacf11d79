"""The numbers of a whole run, as a StatsD server and an OpenTelemetry collector receive them."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.support.collection_file import TEXT_SPACE, write_collection

Run = Callable[[dict[str, str]], str]


@pytest.fixture
def things(tmp_path: Path) -> None:
    """Twenty, one of them blank."""
    rows = [{"id": f"i{n}", "text": f"text {n}" if n else ""} for n in range(20)]
    space = {**TEXT_SPACE, "version": 2}
    write_collection(tmp_path, rows, spaces=[space], gates={"max_reject_share": 0.5})


def received(server: socket.socket) -> list[str]:
    """What has come to it."""
    server.setblocking(False)
    packets = []
    while True:
        try:
            packets.append(server.recv(65536).decode())
        except BlockingIOError:
            return packets


@pytest.mark.airflow
@pytest.mark.usefixtures("things")
def test_statsd_gets_the_numbers(airflow: dict[str, str], run_things: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        server.bind(("127.0.0.1", 0))
        airflow["AIRFLOW__METRICS__STATSD_ON"] = "True"
        airflow["AIRFLOW__METRICS__STATSD_HOST"] = "127.0.0.1"
        airflow["AIRFLOW__METRICS__STATSD_PORT"] = str(server.getsockname()[1])
        assert run_things(airflow) == "success"
        ours = [packet for packet in received(server) if packet.startswith("airflow.commonspace.")]
    *numbers, encoding = [packet.removeprefix("airflow.commonspace.") for packet in ours]
    assert numbers == [
        "encoded.things.text-v2:19|c", "rejected.things.text-v2:1|g", "rows.things.text-v2:19|g",
    ]  # fmt: skip
    (noted,) = tmp_path.glob("warehouse/.runs/things/*/text-v2/encode-*.json")
    name, _, milliseconds = encoding.removesuffix("|ms").partition(":")
    assert name == "encoding.things.text-v2"
    seconds = json.loads(noted.read_text())["seconds"]
    assert float(milliseconds) == pytest.approx(seconds * 1000, abs=1)


REFUSING = """
from statsd import StatsClient

class Refusing(StatsClient):
    def _send(self, data):
        if "commonspace." in data:
            open(MARK, "w").close()
            raise OSError("the server is gone")
"""


@pytest.mark.airflow
@pytest.mark.usefixtures("things")
def test_a_backend_that_refuses_stops_no_run(
    airflow: dict[str, str], run_things: Run, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    mark = tmp_path / "asked"
    (tmp_path / "site/refusing.py").write_text(f"MARK = {str(mark)!r}\n{REFUSING}")
    airflow["PYTHONPATH"] = str(tmp_path / "site")
    airflow["AIRFLOW__METRICS__STATSD_ON"] = "True"
    airflow["AIRFLOW__METRICS__STATSD_CUSTOM_CLIENT_PATH"] = "refusing.Refusing"
    assert run_things(airflow) == "success"
    assert mark.exists()


@contextmanager
def collecting() -> Iterator[tuple[int, dict[str, Any]]]:
    """An OpenTelemetry collector (OTLP by HTTP): its port, and each metric by its name."""
    metrics: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    metrics.update({metric.name: metric for metric in scope.metrics})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, metrics
    server.shutdown()


@pytest.mark.airflow
@pytest.mark.usefixtures("things")
def test_opentelemetry_gets_the_numbers(airflow: dict[str, str], run_things: Run) -> None:
    with collecting() as (port, metrics):
        airflow["AIRFLOW__METRICS__OTEL_ON"] = "True"
        airflow["AIRFLOW__METRICS__OTEL_HOST"] = "127.0.0.1"
        airflow["AIRFLOW__METRICS__OTEL_PORT"] = str(port)
        assert run_things(airflow) == "success"
    ours = {name: m for name, m in metrics.items() if name.startswith("airflow.commonspace.")}
    names = ("encoded", "rejected", "rows", "encoding")
    assert set(ours) == {f"airflow.commonspace.{name}.things.text-v2" for name in names}
    encoded, rejected, rows, _ = (ours[f"airflow.commonspace.{n}.things.text-v2"] for n in names)
    (counted,) = encoded.sum.data_points
    assert counted.as_int == 19
    tags = {tag.key: tag.value.string_value for tag in counted.attributes}
    assert tags == {"collection": "things", "space": "text-v2"}
    values = [metric.gauge.data_points[0].as_int for metric in (rejected, rows)]
    assert values == [1, 19]
