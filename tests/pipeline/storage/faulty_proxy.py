"""A proxy between the pipeline and a store, for stores and networks that misbehave."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Proxy:
    """What becomes of requests on their way to the store and back. May be changed at any time."""

    store: str
    without: frozenset[str] = frozenset()
    """Request headers that get lost, in lower case."""
    faults: tuple[str, ...] = ()
    """Of `500`, `503`, `403`; `drop` hangs up at once, `lose` after the store has done it, `cut`
    in the middle of the answer."""
    share: float = 0.0
    """Of the requests that meet one of the faults."""
    hidden: str = ""
    """Requests for an address with this in it are refused, as by a policy of the bucket."""
    delay: float = 0.0
    """Seconds that each request takes longer."""
    seed: int = 0
    coming: list[str | None] = field(default_factory=list)
    """The faults of the next requests, ahead of those by chance."""
    address: str = ""
    met: Counter[str] = field(default_factory=Counter)
    """The faults that came to pass; how many `requests` there were, and how many of each method."""

    def __post_init__(self) -> None:
        self._dice, self._lock = random.Random(self.seed), threading.Lock()

    def fault(self, path: str) -> str | None:
        with self._lock:
            self.met["requests"] += 1
            if self.hidden and self.hidden in unquote(path):
                return "403"
            if self.coming:
                return self.coming.pop(0)
            if not self.faults or self._dice.random() >= self.share:
                return None
            fault = self._dice.choice(self.faults)
            self.met[fault] += 1
            return fault


@contextmanager
def proxy(store: str, **ways: Any) -> Iterator[Proxy]:
    """A proxy before the store at this address, listening at `.address`."""
    chosen = Proxy(store, **ways)

    class Handler(_Handler):
        proxy = chosen

    server = _Server(("127.0.0.1", 0), Handler)
    chosen.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield chosen
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Both sides hang up as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer takes 40 ms
    wbufsize = -1
    proxy: Proxy

    def handle_any(self) -> None:
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(proxy.delay)
        proxy.met[self.command] += 1
        fault = proxy.fault(self.path)
        if fault is not None and fault.isdigit():
            code = "AccessDenied" if fault == "403" else "SlowDown"
            self.reply(int(fault), {}, f"<Error><Code>{code}</Code></Error>".encode())
        elif fault == "drop":
            self.hang_up()
        else:
            status, headers, answer = self.forward(body)
            if fault == "lose":
                self.hang_up()
            else:
                self.reply(status, headers, answer, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.proxy.store).netloc, timeout=60)
        lost = self.proxy.without | HOP_BY_HOP
        headers = {k: v for k, v in self.headers.items() if k.lower() not in lost}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP}
        return answer.status, kept, data

    def reply(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""
