"""The command line: `commonspace VERB …`.

Results go to standard output, as tables for people or, with `--json`, as one JSON document;
progress and messages go to standard error. Exit code 0: done; 1: a gate or a contract refused, or
something broke; 2: the user's mistake.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from importlib import metadata
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.allocator import use_one_allocator
from commonspace.pipeline.cli import init, read, release, run, tables
from commonspace.pipeline.cli.output import print_json
from commonspace.pipeline.cli.verb import Verb
from commonspace.pipeline.errors import NestedTooDeeply, OutOfMemory, UserMistake

_MistakenUsage: type[Exception] = typer.BadParameter.mro()[1]
"""What typer raises of any mistake in the options. It exports this subclass, but not the class."""

app = typer.Typer(
    help="Text and image embeddings, published as tables that other teams can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for _group in (init, run, read, release):
    for _verb in _group.app.registered_commands:
        _verb.cls = Verb
    app.add_typer(_group.app)


def _print_version(is_given: bool) -> None:
    if is_given:
        typer.echo(f"commonspace {metadata.version('commonspace')}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option(
        "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
    ),
]
_NoColor = Annotated[
    bool, typer.Option("--no-color", help="Print without colours, as where NO_COLOR is set.")
]


@app.callback()
def _before_any_verb(_version: _Version = False, no_color: _NoColor = False) -> None:
    tables.console.no_color = no_color or tables.console.no_color


def main() -> None:
    """Entry point: our own errors become one message and an exit code, never a traceback.

    With `--json`, so do mistakes in the options; people get those in a box with the usage.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    use_one_allocator()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, _exit_on_signal)
    as_json = "--json" in sys.argv
    try:
        sys.exit(app(standalone_mode=not as_json))
    except CommonspaceError as error:
        _refuse(error, as_json)
    except _MistakenUsage as error:
        _refuse(_explained(error), as_json)
    except (MemoryError, RecursionError) as error:
        _refuse(_limit_of_python(error), as_json)
    except KeyboardInterrupt:
        sys.stderr.write("commonspace: interrupted; finished shards are kept for the next run\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _refuse(error: CommonspaceError, as_json: bool) -> NoReturn:
    if as_json:
        print_json(error.to_json())
    sys.stderr.write(f"commonspace: {error}\n")
    if error.retry:
        sys.stderr.write("  Trying again may help.\n")
    sys.exit(1 if error.retry else error.exit_code)  # what may pass is no mistake of the user


def _explained(error: Any) -> UserMistake:
    """A mistake in the options as one of our errors."""
    command = error.ctx.command_path if error.ctx else "commonspace"
    return UserMistake(error.format_message(), do=f"Try `{command} --help`.")


def _limit_of_python(error: Exception) -> CommonspaceError:
    if isinstance(error, MemoryError):
        return OutOfMemory("the process ran out of memory")
    return NestedTooDeeply("a value is nested too deeply")


def _exit_on_signal(number: int, _: FrameType | None) -> None:
    """Raises SystemExit, so that files and locks are released and the exit code says what it was.

    Dying of the signal itself would look like a crash of the encoder.
    """
    signal.signal(number, signal.SIG_IGN)  # a group of processes often gets it twice
    sys.exit(128 + number)
