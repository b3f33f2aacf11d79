"""Passwords and keys: random, made at the first start, kept in one file of mode 600."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path


def _password() -> str:
    return secrets.token_urlsafe(24)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _long_key() -> str:
    return secrets.token_urlsafe(64)


@dataclass(frozen=True)
class Credentials:
    """Passwords and keys of one stack."""

    admin: str = field(default_factory=_password, repr=False)
    database_superuser: str = field(default_factory=_password, repr=False)
    database: str = field(default_factory=_password, repr=False)
    broker: str = field(default_factory=_password, repr=False)
    bucket: str = field(default_factory=_password, repr=False)
    api_secret_key: str = field(default_factory=_long_key, repr=False)
    jwt_secret: str = field(default_factory=_long_key, repr=False)
    fernet_key: str = field(default_factory=_fernet_key, repr=False)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from the moment it exists."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)


def credentials_of(folder: Path) -> Credentials:
    """The credentials of the folder's stack, made at its first start."""
    path = folder / "credentials.json"
    if not path.exists():
        write_secret(path, json.dumps(asdict(Credentials()), indent=2) + "\n")
    return Credentials(**json.loads(path.read_text()))
