"""`make stack`: Airflow with PostgreSQL, Redis and Celery workers on this machine, without Docker.

Everything listens on the loopback, and lies in one folder. Ctrl-C ends all of it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.credentials import credentials_of, write_secret
from infra.stack.parts import airflow_command, airflow_parts, servers
from infra.stack.postgres import make_database, server_user
from infra.stack.settings import REPOSITORY, Ports, Settings, StackFailed, airflow_environment
from infra.stack.supervisor import Supervisor, only_stack_of, run_once

console = Console()


def main(
    folder: Annotated[Path, typer.Option(help="Holds everything; made if absent.")] = Path("stack"),
    executor: Annotated[Literal["celery", "local"], typer.Option(help="Who executes tasks.")] = (
        "celery"
    ),
    warehouse: Annotated[
        Literal["folder", "bucket"],
        typer.Option(help="A folder, or a bucket that is forgotten when the stack ends."),
    ] = "folder",
    collections: Annotated[
        Path, typer.Option(help="The folder of collection files.", exists=True, file_okay=False)
    ] = REPOSITORY / "dags/collections",
) -> None:
    """Start PostgreSQL, Redis and Airflow here, and end them with Ctrl-C."""
    folder = _made(folder)
    try:
        with only_stack_of(folder):
            settings = Settings(
                folder, executor, warehouse, collections.resolve(), credentials_of(folder), Ports()
            )
            _run(settings)
    except StackFailed as error:
        console.print(f"stack: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def _made(folder: Path) -> Path:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711 if server_user() else 0o700)  # PostgreSQL's user passes through
    for name in ("logs", "airflow"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder


def _run(settings: Settings) -> None:
    supervisor = Supervisor(settings.folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stopping.set())
    supervisor.end_leftovers()
    try:
        console.print("stack: starting; a minute or two on two cores")
        supervisor.start(servers(settings))
        if not supervisor.stopping.is_set():
            _prepare(settings)
        if not supervisor.stopping.is_set():
            supervisor.start(airflow_parts(settings))
        if not supervisor.stopping.is_set():
            _tell(settings, supervisor)
            supervisor.watch()
    finally:
        console.print("stack: stopping")
        supervisor.stop()
        console.print("stack: stopped, nothing of it runs any more")


def _prepare(settings: Settings) -> None:
    """The database, its tables, the pool of GPU tasks, and the file for the command line."""
    environment = airflow_environment(settings)
    write_secret(settings.passwords, json.dumps({"admin": settings.credentials.admin}) + "\n")
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())]
    write_secret(settings.folder / "airflow.env", "".join(lines))
    make_database(settings)
    log, everything = settings.folder / "logs/migrate.log", {**os.environ, **environment}
    run_once(airflow_command("db", "migrate"), everything, log)
    pool = settings.folder / "airflow/pool-made"
    if not pool.exists():  # later starts leave it as its owner has set it
        words = ("pools", "set", "gpu", "1", "One slot a GPU.")
        run_once(airflow_command(*words), everything, log)
        pool.touch()


def _tell(settings: Settings, supervisor: Supervisor) -> None:
    table = Table("part", "process", "where", "log", box=None, pad_edge=False)
    for part in supervisor.parts:
        log = part.log.relative_to(settings.folder)
        table.add_row(part.name, str(part.pid), part.address, str(log))
    console.print(table)
    console.print(f"warehouse    {settings.warehouse_address}", highlight=False)
    console.print(f"folder       {settings.folder}", highlight=False, soft_wrap=True)
    console.print("command line . airflow.env of the folder, then `airflow …`", highlight=False)
    console.print("sign in      as admin; airflow-passwords.json of the folder says the password")
    console.print(f"stack: ready at {settings.api}; Ctrl-C ends it", highlight=False)


if __name__ == "__main__":
    typer.run(main)
