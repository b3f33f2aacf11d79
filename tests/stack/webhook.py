"""A server that keeps what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True)
class Webhook:
    address: str
    reported: list[dict[str, Any]] = field(default_factory=list)

    def of(self, dag: str) -> list[dict[str, Any]]:
        """What was posted of a DAG."""
        return [one for one in self.reported if one["dag"] == dag]


@contextmanager
def listening() -> Iterator[Webhook]:
    """On the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.reported.append(
                json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            )
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    webhook = Webhook(f"http://127.0.0.1:{server.server_port}/")
    Thread(target=server.serve_forever, daemon=True).start()
    yield webhook
    server.shutdown()
