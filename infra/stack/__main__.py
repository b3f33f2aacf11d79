"""`make stack`: Airflow with PostgreSQL, Redis and Celery workers on this machine, without Docker.

Everything listens on the loopback, and all files are in one folder. Ctrl-C stops all of it.
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
    folder: Annotated[
        Path, typer.Option(help="The folder of all files; created if absent.")
    ] = Path("stack"),
    executor: Annotated[Literal["celery", "local"], typer.Option(help="What executes tasks.")] = (
        "celery"
    ),
    warehouse: Annotated[
        Literal["folder", "bucket"],
        typer.Option(help="A folder, or a bucket whose data is gone when the stack stops."),
    ] = "folder",
    collections: Annotated[
        Path, typer.Option(help="The folder of collection files.", exists=True, file_okay=False)
    ] = REPOSITORY / "dags/collections",
) -> None:
    """Start PostgreSQL, Redis and Airflow on this machine; Ctrl-C stops them."""
    folder = _make_folder(folder)
    try:
        with only_stack_of(folder):
            settings = Settings(
                folder, executor, warehouse, collections.resolve(), credentials_of(folder), Ports()
            )
            _run(settings)
    except StackFailed as error:
        console.print(f"stack: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def _make_folder(folder: Path) -> Path:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711 if server_user() else 0o700)  # PostgreSQL's user must reach its own
    for name in ("logs", "airflow"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder


def _run(settings: Settings) -> None:
    supervisor = Supervisor(settings.folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stopping.set())
    supervisor.stop_leftovers()
    try:
        console.print("stack: starting; a minute or two on two cores")
        supervisor.start(servers(settings))
        if not supervisor.stopping.is_set():
            _prepare(settings)
        if not supervisor.stopping.is_set():
            supervisor.start(airflow_parts(settings))
        if not supervisor.stopping.is_set():
            _print_overview(settings, supervisor)
            supervisor.watch()
    finally:
        console.print("stack: stopping")
        supervisor.stop()
        console.print("stack: stopped; none of its processes is left")


def _prepare(settings: Settings) -> None:
    """Make the database, its tables, the pool of GPU tasks, and the file for the command line."""
    environment = airflow_environment(settings)
    write_secret(settings.passwords, json.dumps({"admin": settings.credentials.admin}) + "\n")
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())]
    write_secret(settings.folder / "airflow.env", "".join(lines))
    make_database(settings)
    log, full_environment = settings.folder / "logs/migrate.log", {**os.environ, **environment}
    run_once(airflow_command("db", "migrate"), full_environment, log)
    pool = settings.folder / "airflow/pool-made"
    if not pool.exists():  # later starts keep the size that its owner has set
        command = airflow_command("pools", "set", "gpu", "1", "One slot per GPU.")
        run_once(command, full_environment, log)
        pool.touch()


def _print_overview(settings: Settings, supervisor: Supervisor) -> None:
    table = Table("part", "process", "where", "log", box=None, pad_edge=False)
    for part in supervisor.parts:
        log = part.log.relative_to(settings.folder)
        table.add_row(part.name, str(part.pid), part.address, str(log))
    console.print(table)
    console.print(f"warehouse    {settings.warehouse_address}", highlight=False)
    console.print(f"folder       {settings.folder}", highlight=False, soft_wrap=True)
    console.print("command line `. airflow.env` of the folder, then `airflow …`", highlight=False)
    console.print(
        "sign in      as admin, with the password in airflow-passwords.json of the folder"
    )
    console.print(f"stack: ready at {settings.api}; Ctrl-C stops it", highlight=False)


if __name__ == "__main__":
    typer.run(main)
