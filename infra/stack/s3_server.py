"""An S3-compatible store in memory: moto, which supports conditional writes.

Moto checks a condition and writes in two steps. Serving one request at a time makes them one step,
as in a real store.
"""

from __future__ import annotations

import logging
import sys
import threading
import urllib.request
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server


def s3_server(bucket: str, port: int = 0) -> BaseWSGIServer:
    """A server on the loopback, in threads of this process, with an empty bucket; port 0: any."""
    app, one_at_a_time = create_backend_app("s3"), threading.Lock()

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        with one_at_a_time:
            return app(environ, start)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", port, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{bucket}"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(address, method="PUT")):
        return server


def main() -> None:
    """`python -m infra.stack.s3_server BUCKET PORT`: serve until stopped."""
    s3_server(sys.argv[1], int(sys.argv[2]))
    threading.Event().wait()


if __name__ == "__main__":
    main()
