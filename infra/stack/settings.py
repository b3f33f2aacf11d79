"""The settings of one stack: its folder, its ports, and the environment of its processes."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from infra.stack.credentials import Credentials

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).parents[2]
BUCKET = "warehouses"


class StackFailed(Exception):
    """The stack cannot start or go on; the message says what to do."""


PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to clients: a part binds its port long after it was chosen, and
clients of other parts connect in between."""

_chosen: set[int] = set()


def free_port(preferred: int | None = None) -> int:
    """The preferred port where it is free, otherwise a random one; never the same port twice."""
    port = preferred or secrets.choice(PORTS)
    while port in _chosen or not _is_free(port):
        port = secrets.choice(PORTS)
    _chosen.add(port)
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Ports:
    """A port for each server; only that of the web page is always the same, where it is free."""

    api: int = field(default_factory=lambda: free_port(8080))
    database: int = field(default_factory=free_port)
    broker: int = field(default_factory=free_port)
    bucket: int = field(default_factory=free_port)


@dataclass(frozen=True)
class Settings:
    """What a stack consists of. `folder` holds everything that it writes."""

    folder: Path
    executor: Literal["local", "celery"]
    warehouse: Literal["folder", "bucket"]
    collections: Path
    credentials: Credentials
    ports: Ports

    @property
    def api(self) -> str:
        return f"http://{HOST}:{self.ports.api}"

    @property
    def database(self) -> str:
        """User, password, address and name, as SQLAlchemy and Celery take them."""
        return f"airflow:{self.credentials.database}@{HOST}:{self.ports.database}/airflow"

    @property
    def broker(self) -> str:
        return f"redis://:{self.credentials.broker}@{HOST}:{self.ports.broker}/0"

    @property
    def bucket(self) -> str:
        return f"http://{HOST}:{self.ports.bucket}"

    @property
    def warehouse_address(self) -> str:
        if self.warehouse == "bucket":
            return f"s3://{BUCKET}/stack"
        return str(self.folder / "warehouse")

    @property
    def passwords(self) -> Path:
        """The file with the user and password of the web page."""
        return self.folder / "airflow-passwords.json"


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Airflow's settings, with the caller's own `AIRFLOW__…` variables."""
    ports, secret = settings.ports, settings.credentials
    required = {
        "AIRFLOW_HOME": str(settings.folder / "airflow"),
        "AIRFLOW__API__BASE_URL": settings.api,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(ports.api),
        "AIRFLOW__API__SECRET_KEY": secret.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": secret.jwt_secret,
        "AIRFLOW__CELERY__BROKER_URL": settings.broker,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{settings.database}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.api}/execution/",
        "AIRFLOW__CORE__EXECUTOR": f"{settings.executor.title()}Executor",
        "AIRFLOW__CORE__FERNET_KEY": secret.fernet_key,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(settings.passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(settings.folder / "airflow/bundles"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{settings.database}",
        "PYTHONPATH": str(REPOSITORY / "dags"),  # for the functions that the triggerer calls
        "COMMONSPACE_COLLECTIONS": str(settings.collections),
        "COMMONSPACE_WAREHOUSE": settings.warehouse_address,
    }
    if settings.executor == "local":
        required = {name: value for name, value in required.items() if "__CELERY__" not in name}
    defaults = {
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "20",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        # An ended task keeps its slot for up to this many seconds.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    own = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW__")}
    connections = {**_bucket_environment(settings), **_no_proxy()}
    return {**defaults, **own, **required, **connections}


def _no_proxy() -> dict[str, str]:
    """The parts reach each other without the machine's proxy."""
    excluded = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
    hosts = ",".join([excluded, HOST] if excluded else [HOST])
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _bucket_environment(settings: Settings) -> dict[str, str]:
    if settings.warehouse == "folder":
        return {}
    return {
        "AWS_ACCESS_KEY_ID": "stack",
        "AWS_SECRET_ACCESS_KEY": settings.credentials.bucket,
        "AWS_ENDPOINT_URL": settings.bucket,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }
