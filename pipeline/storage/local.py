"""A warehouse in a folder of a local or shared disk."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from commonspace.pipeline.errors import StoreFailed

_BESIDE = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""What a file is called until it is in its place; a killed process leaves it there."""


class LocalStore:
    """A folder. Files are written beside, flushed to disk, linked or renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = self.scratch = root
        self.address = str(root)

    def url(self, key: str) -> str:
        return str(self.root / key)

    def read(self, key: str) -> pa.Buffer | None:
        with translating_os_errors(self.root / key):
            try:
                with pa.memory_map(str(self.root / key)) as file:
                    return file.read_buffer()
            except FileNotFoundError:
                return None

    def put_if_absent(self, key: str, data: bytes | pa.Buffer) -> bool:
        with translating_os_errors(self.root / key), self._beside(key, data) as (beside, target):
            try:
                os.link(beside, target)
            except FileExistsError:
                return False
            return True

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        with translating_os_errors(self.root / key), self._beside(key, data) as (beside, target):
            beside.rename(target)

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        path = self.root / key
        with translating_os_errors(path):
            _make_folder(path.parent)
            with (path.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                found = path.read_bytes() if path.exists() else None
                if found != expected:
                    return False
                if expected is None:
                    return self.put_if_absent(key, data)
                self.put(key, data)
                return True

    def folders(self, prefix: str) -> list[str]:
        with translating_os_errors(self.root / prefix):
            try:
                return sorted(p.name for p in (self.root / prefix).iterdir() if p.is_dir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def list(self, prefix: str) -> list[str]:
        return sorted(self.list_with_mtime(prefix))

    def list_with_mtime(self, prefix: str) -> dict[str, float]:
        return self._files(prefix, lambda name: not name.startswith("."))

    def list_temporary(self, prefix: str) -> dict[str, float]:
        return self._files(prefix, lambda name: _BESIDE.fullmatch(name) is not None)

    def _files(self, prefix: str, wanted: Callable[[str], bool]) -> dict[str, float]:
        found: dict[str, float] = {}
        with translating_os_errors(self.root / prefix):
            for folder, _, files in os.walk(self.root / prefix, onerror=_unless_gone):
                for name in files:
                    path = Path(folder) / name
                    with suppress(FileNotFoundError):  # deleted since
                        if wanted(name):
                            moment = path.stat().st_mtime
                            found[path.relative_to(self.root).as_posix()] = moment
        return found

    def delete(self, key: str) -> None:
        with translating_os_errors(self.root / key):
            (self.root / key).unlink(missing_ok=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Keep every other holder of the key waiting, on this machine or a shared disk."""
        path = self.root / key
        with translating_os_errors(path):
            _make_folder(path.parent)
            lock = path.open("w")
        with lock:
            with translating_os_errors(path):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def flush(self, prefix: str) -> None:
        """Bring every file below the folder to the disk: for writers that do not do it."""
        with translating_os_errors(self.root / prefix):
            for folder, _, files in os.walk(self.root / prefix, onerror=_unless_gone):
                for path in (*(Path(folder) / name for name in files), Path(folder)):
                    _flush(path)

    def delete_prefix(self, prefix: str) -> None:
        """Remove the folder with all that is in it."""
        with translating_os_errors(self.root / prefix):
            shutil.rmtree(self.root / prefix, ignore_errors=True)
            with suppress(OSError):  # folders that this leaves empty, the root included
                os.removedirs((self.root / prefix).parent)

    @contextmanager
    def _beside(self, key: str, data: bytes | pa.Buffer) -> Iterator[tuple[Path, Path]]:
        """A flushed temporary file in the target's folder; the folder is flushed afterwards."""
        target = self.root / key
        _make_folder(target.parent)
        beside = target.parent / f".{secrets.token_hex(8)}.tmp"
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield beside, target
            _flush(target.parent)
        finally:
            beside.unlink(missing_ok=True)


def _unless_gone(error: OSError) -> None:
    """A folder that cannot be read is no empty one."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _make_folder(folder: Path) -> None:
    """The folder and all above it, each entered in its parent for good."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_ADVICE = {
    errno.ENOSPC: (True, "The disk is full: free space, then run again; finished work is kept."),
    errno.EDQUOT: (True, "The quota is used up: free space, then run again."),
    errno.EACCES: (False, "Permission is missing: let this user write to the warehouse."),
    errno.EPERM: (False, "Permission is missing: let this user write to the warehouse."),
    errno.EROFS: (False, "The file system is read-only: set COMMONSPACE_WAREHOUSE elsewhere."),
}


@contextmanager
def translating_os_errors(path: Path) -> Iterator[None]:
    """Turns an OSError into a StoreFailed that says what to do."""
    try:
        yield
    except OSError as error:
        retry, do = _ADVICE.get(error.errno or 0, (True, "Look at the disk, then run again."))
        what = f"the warehouse failed: {error.strerror or error}"
        raise StoreFailed(what, item=str(path), retry=retry, do=do) from error
