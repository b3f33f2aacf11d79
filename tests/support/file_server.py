"""A web server of files that breaks as asked; also a proxy, and a model hub's answers."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """What happens to one answer with a body.

    Attributes:
        after: how many bytes of the body are sent before the connection ends.
        stall: seconds that pass before it ends.
        status: an answer without the body instead.
    """

    after: int = 0
    stall: float = 0.0
    status: int | None = None


@dataclass
class FileServer:
    """Files by path, the faults of the next answers, and who asked for what.

    Attributes:
        files: the body that each path has.
        headers: further headers of a path.
        faults: those of the next requests for a body, by path.
        ranges: whether parts are served.
        asked: the method, the address as it was asked for, and the range of each request.
        address: of the server, by http.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    ranges: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""

    def add_model(self, name: str, revision: str, files: Mapping[str, bytes]) -> None:
        """Answer as a hub that has a model of these files."""
        tree = []
        for file, data in files.items():
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry = {"type": "file", "path": file, "oid": git, "size": len(data)}
            etag = git
            if file.endswith(".safetensors"):
                etag = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": etag, "size": len(data), "pointerSize": 134}
            tree.append(entry)
            path = f"/{name}/resolve/{revision}/{file}"
            self.files[path] = data
            self.headers[path] = {"ETag": f'"{etag}"', "X-Repo-Commit": revision}
        self.files[f"/api/models/{name}/tree/{revision}"] = json.dumps(tree).encode()

    def bodies_asked(self, path: str) -> list[str | None]:
        """The range of each request for the body of a path."""
        return [
            part for method, address, part in self.asked
            if method == "GET" and urlsplit(address).path == path
        ]  # fmt: skip


class _Server(ThreadingHTTPServer):
    """Has the state that its handlers answer by."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = FileServer(address=f"http://127.0.0.1:{self.server_port}")
        self.ended = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        state, path = self.server.state, urlsplit(self.path).path
        faults = state.faults.get(path)
        fault = faults.pop(0) if faults else None
        self._answer(path, fault, with_body=True)

    def do_HEAD(self) -> None:
        self._answer(urlsplit(self.path).path, None, with_body=False)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, path: str, fault: Fault | None, *, with_body: bool) -> None:
        state, part = self.server.state, self.headers.get("Range")
        state.asked.append((self.command, self.path, part))
        body = state.files.get(path)
        if body is None or (fault and fault.status):
            self.send_error(404 if body is None else fault.status or 500)  # type: ignore[union-attr]
            return
        start = int(part[6:].partition("-")[0]) if part and state.ranges and with_body else 0
        if start and start >= len(body):
            self._start(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
            return
        headers = {"Content-Length": str(len(body) - start), **state.headers.get(path, {})}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._start(206 if start else 200, headers)
        if with_body:
            self._send(body[start:], fault)

    def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, body: bytes, fault: Fault | None) -> None:
        self.wfile.write(body if fault is None else body[: fault.after])
        self.wfile.flush()
        if fault is not None:
            self.server.ended.wait(fault.stall)
            self.close_connection = True


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A server on a free port of the loopback, for as long as the block."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.state
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
