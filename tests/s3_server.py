"""An S3-compatible store for the tests: moto, which keeps to conditional writes.

`python -m tests.s3_server BUCKET` makes the bucket, prints its address and ends with its standard
input, so that it outlives no test run. Moto looks first and writes then; one request at a time
makes that one step, as in a store for real.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import urllib.request
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import make_server


def main() -> None:
    app, one_at_a_time = create_backend_app("s3"), threading.Lock()

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        with one_at_a_time:
            return app(environ, start)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{sys.argv[1]}", method="PUT")):
        pass
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
