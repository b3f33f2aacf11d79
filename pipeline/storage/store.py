"""Where the warehouse keeps its bytes: keys to immutable objects, and one pointer that moves.

Everything that must be decided once is decided by `put_if_absent` or `compare_and_swap`.
All else may be written twice with the same outcome.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.storage.s3 import S3Store

_FOLDER = "Set COMMONSPACE_WAREHOUSE to a folder or to s3://BUCKET/PREFIX."


class Store(Protocol):
    """Keys are relative paths with `/`; every method raises StoreFailed on trouble."""

    @property
    def address(self) -> str:
        """Where the warehouse is, as `open_store` and LanceDB take it: a folder or a URL."""
        ...

    @property
    def scratch(self) -> Path:
        """A folder of this machine for temporary files as large as a release."""
        ...

    def url(self, key: str) -> str:
        """The address of one object, for other engines."""
        ...

    def read(self, key: str) -> pa.Buffer | None:
        """The object's bytes, or None where there is none."""
        ...

    def exists(self, key: str) -> bool:
        """Whether `read` would give bytes; they are not read."""
        ...

    def put_if_absent(self, key: str, data: bytes | pa.Buffer) -> bool:
        """Put if absent: True where this call wrote it, False where it was there already."""
        ...

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        """Put, whole or not at all, whatever was there before."""
        ...

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        """Put where the object still equals `expected` (None: is absent); else False."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders right below the folder `prefix`, sorted."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Every key below the folder `prefix`, sorted; unfinished writes are not among them."""
        ...

    def list_with_mtime(self, prefix: str) -> dict[str, float]:
        """The keys of `list`, each with when it was last written, in seconds since 1970."""
        ...

    def list_temporary(self, prefix: str) -> dict[str, float]:
        """The keys of unfinished writes, each with when it was last written, in seconds since 1970.

        They belong to killed processes, or to one that is writing now.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object; one that is gone already is no error."""
        ...

    def delete_prefix(self, prefix: str) -> None:
        """Remove the folder with all that is in it."""
        ...

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Hold a lock while the block runs; whoever else asks for the same key waits.

        It saves needless work and decides nothing, for it may be broken: what must be decided
        once goes through `compare_and_swap`.
        """
        ...

    def flush(self, prefix: str) -> None:
        """Make what LanceDB and other writers left below the folder survive a power cut."""
        ...


def _folder(address: str) -> Path:
    """The folder that an address names; whether it is there already does not matter."""
    try:
        folder = Path(address).expanduser().resolve()
        is_other = folder.exists() and not folder.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a loop of links, a NUL
        raise UserMistake("can be no folder", item=repr(address), do=_FOLDER) from error
    if is_other:
        raise UserMistake("is not a folder", item=address, do=_FOLDER)
    return folder


def open_store(address: str) -> Store:
    """The store behind a warehouse address, a folder or a URL.

    Raises:
        UserMistake: no store serves this kind of URL, it names no bucket, or it is a file.
    """
    scheme, colons, _ = address.partition("://")
    if not colons:
        return LocalStore(_folder(address))
    if scheme == "s3":
        return S3Store(address)
    raise UserMistake(
        f"there are no warehouses on {scheme}://",
        item=address,
        do=_FOLDER,
    )
