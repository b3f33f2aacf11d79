"""An S3-compatible store for the tests, the one of `make stack`.

`python -m tests.support.s3_server BUCKET` makes the bucket, prints its address and ends with its
standard input, so that it outlives no test run.
"""

from __future__ import annotations

import os
import sys

from infra.stack.s3_server import s3_server


def main() -> None:
    server = s3_server(sys.argv[1])
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
