"""The command line: `commonspace VERB …`.

Tables for people, one JSON document on standard output with `--json`; progress and messages
go to standard error. Exit code 0: done; 1: a gate or a contract refused, or something broke;
2: the user's mistake.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from types import FrameType

import typer

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.cli import read, release, run
from commonspace.pipeline.memory import use_one_allocator

app = typer.Typer(
    help="Text and image embeddings, published as tables that other teams can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _verbs in (run, read, release):
    app.add_typer(_verbs.app)


def _asked_to_end(number: int, _: FrameType | None) -> None:
    """Raises SystemExit, so that what is open is closed, and being stopped looks like no death."""
    signal.signal(number, signal.SIG_IGN)  # a group of processes is often told twice
    sys.exit(128 + number)


def main() -> None:
    """Entry point: our own errors become one message and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot write, it escapes
            stream.reconfigure(errors="backslashreplace")
    use_one_allocator()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` wants it ignored
            signal.signal(number, _asked_to_end)
    try:
        app()
    except CommonspaceError as error:
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps(error.to_json()) + "\n")
        sys.stderr.write(f"commonspace: {error}\n")
        if error.retry:
            sys.stderr.write("  Trying again may help.\n")
        sys.exit(1 if error.retry else error.exit_code)  # what may pass is nobody's mistake
    except KeyboardInterrupt:
        sys.stderr.write("commonspace: interrupted; finished shards are kept for the next run\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
