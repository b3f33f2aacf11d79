"""A warehouse in a folder of a local or shared disk."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from commonspace.pipeline.storage.keys import confined
from commonspace.pipeline.storage.local_errors import translating_os_errors

_TEMPORARY_NAME = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""A file is called so until it is linked or renamed into place; a killed process leaves it."""


class LocalStore:
    """A folder as a store.

    A file is written under a temporary name in its folder, flushed to disk, then linked or renamed
    into place.
    """

    def __init__(self, root: Path) -> None:
        self.root = self.scratch = root
        self.address = str(root)

    def url(self, key: str) -> str:
        return str(self._path(key))

    def read(self, key: str) -> pa.Buffer | None:
        with translating_os_errors(self._path(key)):
            try:
                with pa.memory_map(str(self._path(key))) as file:
                    return file.read_buffer()
            except FileNotFoundError:
                return None

    def exists(self, key: str) -> bool:
        with translating_os_errors(self._path(key)):
            try:
                mode = (self._path(key)).stat().st_mode
            except FileNotFoundError:
                return False
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            return True

    def put_if_absent(self, key: str, data: bytes | pa.Buffer) -> bool:
        with translating_os_errors(self._path(key)), self._temporary(key, data) as (file, target):
            try:
                os.link(file, target)
            except FileExistsError:
                return False
            return True

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        with translating_os_errors(self._path(key)), self._temporary(key, data) as (file, target):
            file.rename(target)

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        path = self._path(key)
        with translating_os_errors(path):
            _make_folder(path.parent)
            with (path.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                stored = path.read_bytes() if path.exists() else None
                if stored != expected:
                    return False
                if expected is None:
                    return self.put_if_absent(key, data)
                self.put(key, data)
                return True

    def folders(self, prefix: str) -> list[str]:
        with translating_os_errors(self._path(prefix)):
            try:
                inside = (self._path(prefix)).iterdir()
                return sorted(path.name for path in inside if path.is_dir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def list(self, prefix: str) -> list[str]:
        return sorted(self.list_with_mtime(prefix))

    def list_with_mtime(self, prefix: str) -> dict[str, float]:
        return self._files(prefix, lambda name: not name.startswith("."))

    def list_temporary(self, prefix: str) -> dict[str, float]:
        return self._files(prefix, lambda name: _TEMPORARY_NAME.fullmatch(name) is not None)

    def _files(self, prefix: str, is_listed: Callable[[str], bool]) -> dict[str, float]:
        """The keys of the files whose name is listed, each with when it was last written."""
        times: dict[str, float] = {}
        root = str(self.root)
        with translating_os_errors(self._path(prefix)):
            for folder, _, files in os.walk(self._path(prefix), onerror=_unless_gone):
                for name in filter(is_listed, files):
                    # A run lists thousands of files: building a Path of each took half of its time.
                    path = f"{folder}/{name}"
                    with suppress(FileNotFoundError):  # deleted since
                        modified = os.stat(path).st_mtime  # noqa: PTH116
                        times[path.removeprefix(root).lstrip("/")] = modified
        return times

    def delete(self, key: str) -> None:
        with translating_os_errors(self._path(key)):
            (self._path(key)).unlink(missing_ok=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """As `Store.lock`, among the processes of this machine or of a shared disk."""
        path = self._path(key)
        with translating_os_errors(path):
            _make_folder(path.parent)
            lock = path.open("w")
        with lock:
            with translating_os_errors(path):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def flush(self, prefix: str) -> None:
        """Flush every file below the folder to disk, for writers that do not do so themselves."""
        with translating_os_errors(self._path(prefix)):
            for folder, _, files in os.walk(self._path(prefix), onerror=_unless_gone):
                for path in (*(Path(folder) / name for name in files), Path(folder)):
                    _flush(path)

    def delete_prefix(self, prefix: str) -> None:
        with translating_os_errors(self._path(prefix)):
            shutil.rmtree(self._path(prefix), ignore_errors=True)
            with suppress(OSError):  # folders that this leaves empty, the root included
                os.removedirs((self._path(prefix)).parent)

    def _path(self, key: str) -> Path:
        return self.root / confined(key)

    @contextmanager
    def _temporary(self, key: str, data: bytes | pa.Buffer) -> Iterator[tuple[Path, Path]]:
        """A flushed file beside the target, and the target; the folder is flushed afterwards."""
        target = self._path(key)
        _make_folder(target.parent)
        temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary, target
            _flush(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _unless_gone(error: OSError) -> None:
    """Skip a folder that was deleted meanwhile; one that cannot be read must not pass for empty."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _make_folder(folder: Path) -> None:
    """Make the folder and all above it; each parent is flushed, so that a power cut loses none."""
    parents = (folder, *folder.parents)
    missing = list(itertools.takewhile(lambda path: not path.exists(), parents))
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
