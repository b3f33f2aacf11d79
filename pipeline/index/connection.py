"""Opening LanceDB, and what its errors mean."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from commonspace.pipeline.contract.layout import lancedb_address
from commonspace.pipeline.errors import ContractBroken, StoreFailed
from commonspace.pipeline.index.table import Database, Table
from commonspace.pipeline.storage.s3_errors import is_store_error, store_failure

_LAYERS = re.compile(
    r"lance error: |LanceError\(\w+\): |Generic [\w/]+ error: |Wrapped error: "
    r"|External error: |A prerequisite task failed: |Not found: (?=.*Not found: )"
)


def connect(address: str) -> Database:
    """The LanceDB database of a warehouse; access to a bucket comes from the environment.

    Raises:
        StoreFailed: the bucket failed.
    """
    # Lance warns of every new table: a warning that always comes is soon ignored.
    os.environ.setdefault("LANCE_LOG", "error")
    import lancedb  # two seconds that most stages need not pay

    place = lancedb_address(address)
    with translating_store_errors(place):
        # LanceDB's own class declares wider parameters, and lacks one that its local kind has.
        return cast("Database", lancedb.connect(place))


def open_table(database: Database, name: str) -> Table | None:
    """The table at its latest version, or None where there is none.

    Raises:
        StoreFailed: the bucket failed.
        ValueError, RuntimeError: the table is damaged.
    """
    try:
        with translating_store_errors(f"LanceDB table {name}"):
            return database.open_table(name)
    except (ValueError, RuntimeError) as error:
        if "not found" in str(error).lower():
            return None
        raise


def plain_message(error: Exception | str) -> str:
    """LanceDB's message on one line: what it says, without the code that says it.

    Each layer of that puts its name before the message, and places in its source behind it.
    """
    message = re.sub(r",?\s*\S+\.rs:[0-9:]+.*", "", str(error))
    return " ".join(_LAYERS.sub("", message).split())[:400]


@contextmanager
def translating_store_errors(item: str) -> Iterator[None]:
    """Turns what LanceDB says of a failing bucket into StoreFailed; other errors stay.

    A panic of the Rust below it, as some damaged files cause, becomes a RuntimeError.
    """
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        if is_store_error(error):
            raise store_failure(error, item) from error
        raise
    except Exception as error:
        if type(error).__name__ != "RustPanic":  # a class that cannot be imported
            raise
        raise RuntimeError(f"LanceDB panicked: {plain_message(error)}") from error


@contextmanager
def translating_table_errors(space: str) -> Iterator[None]:
    """Turns every error of LanceDB into one that says what to do.

    A failing bucket or a full disk becomes StoreFailed, anything else ContractBroken.
    """
    try:
        with translating_store_errors(space):
            yield
    except (RuntimeError, OSError, ValueError) as error:
        message = plain_message(error)
        if os.strerror(errno.ENOSPC) in message:
            raise StoreFailed(
                f"LanceDB could not write: {message}",
                item=space,
                retry=True,
                do="The disk is full: free space, then run again; finished work is kept.",
            ) from error
        raise ContractBroken(
            f"the LanceDB table cannot be read or written: {message}",
            item=space,
            retry=True,
            do=f"`commonspace verify {space} --repair` rebuilds it from Parquet.",
        ) from error
