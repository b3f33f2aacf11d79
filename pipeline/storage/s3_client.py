"""The client of an S3-compatible bucket: requests are retried, errors say what to do.

Credentials, region and endpoint come from the environment, as LanceDB reads them too.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.storage.keys import confined
from commonspace.pipeline.storage.s3_errors import store_failure

if TYPE_CHECKING:
    from obstore import PutMode

TIMEOUT = "180s"
"""For one request, its body included."""
CONNECT_TIMEOUT = "5s"
RETRIES: Any = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"max_backoff": timedelta(seconds=5)},
}
"""Of `obstore`: for 5xx, failed connections and, where repeating is harmless, broken ones."""
TRIES = 3
"""Of the whole call, for what `obstore` does not repeat by itself: a conditional put."""
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

Answer = TypeVar("Answer")


class S3Client:
    """The objects below `s3://bucket/prefix`; every method raises StoreFailed on trouble."""

    def __init__(self, address: str) -> None:
        from obstore.store import S3Store

        name, _, prefix = address.removeprefix("s3://").rstrip("/").partition("/")
        if not name:
            do = "Set COMMONSPACE_WAREHOUSE to s3://BUCKET/PREFIX."
            raise UserMistake("the address names no bucket", item=address, do=do)
        self.endpoint = _endpoint()
        self.address = f"s3://{name}/{prefix}".rstrip("/")
        self._objects = S3Store(
            name, prefix=prefix or None, timeout=TIMEOUT, connect_timeout=CONNECT_TIMEOUT,
            retry_config=RETRIES,
        )  # fmt: skip

    def get(self, key: str) -> tuple[pa.Buffer, str] | None:
        """The object's bytes and its etag; None where there is none."""

        def act() -> tuple[pa.Buffer, str] | None:
            try:
                answer = self._objects.get(key)
                return pa.py_buffer(answer.bytes()), answer.meta["e_tag"] or ""
            except FileNotFoundError as error:
                _raise_if_bucket_is_missing(error)
                return None

        return self._retry(key, act)

    def exists(self, key: str) -> bool:
        """Whether there is an object; its bytes are not read."""

        def act() -> bool:
            try:
                self._objects.head(key)
            except FileNotFoundError:
                return False
            return True

        # The answer to a HEAD has no body: only a GET tells a missing bucket from a missing object.
        return self._retry(key, act) or self.get(key) is not None

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        """Put, whatever was there before."""
        self._retry(
            key, lambda: self._objects.put(key, memoryview(data).cast("B"), use_multipart=False)
        )

    def put_if(self, key: str, data: bytes | pa.Buffer, etag: str | None) -> bool:
        """Put where the object still has this etag (None: is absent); else False.

        A put that succeeded, but whose answer was lost, is refused when it is retried. Therefore
        each put writes a mark of its own, by which a retry recognises it.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mark = secrets.token_hex(8)
        mode: PutMode = "create" if etag is None else {"e_tag": etag}

        def act() -> bool:
            try:
                self._objects.put(
                    key, memoryview(data).cast("B"), mode=mode, attributes={"writer": mark},
                    use_multipart=False,
                )  # fmt: skip
            except (AlreadyExistsError, PreconditionError):
                return self._writer(key) == mark
            return True

        return self._retry(key, act)

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders right below the folder."""
        listing = self._retry(prefix, lambda: self._objects.list_with_delimiter(prefix or None))
        return sorted(path.rstrip("/").rpartition("/")[2] for path in listing["common_prefixes"])

    def list(self, prefix: str) -> dict[str, float]:
        """Every key below the folder, with when it was last written, in seconds since 1970."""

        def act() -> dict[str, float]:
            pages = self._objects.list(prefix or None, chunk_size=1000)
            objects = (meta for page in pages for meta in page)
            times = {meta["path"]: meta["last_modified"].timestamp() for meta in objects}
            times.pop("", None)  # the prefix itself: consoles make such "folders"
            return times

        return self._retry(prefix, act)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; those that are gone already are no error."""
        deleted = list(keys)
        if deleted:
            self._retry(deleted[0], lambda: self._objects.delete(deleted))

    def _writer(self, key: str) -> str | None:
        """The mark of the put that wrote the object; None where there is no object."""
        try:
            return str(self._objects.get(key, options={"head": True}).attributes.get("writer"))
        except FileNotFoundError as error:
            _raise_if_bucket_is_missing(error)
            return None

    def _retry(self, key: str, act: Callable[[], Answer]) -> Answer:
        """What `act` returns, called up to TRIES times while retrying helps."""
        from obstore.exceptions import BaseError

        confined(key)
        for left in reversed(range(TRIES)):
            try:
                return act()
            except (BaseError, OSError, ValueError) as error:
                failure = store_failure(error, f"{self.address}/{key}")
                if not failure.retry or not left:
                    raise failure from error
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311
        raise AssertionError


def _raise_if_bucket_is_missing(error: FileNotFoundError) -> None:
    if "NoSuchBucket" in str(error):
        raise error


def _endpoint() -> str:
    """Where requests go; "" is AWS.

    Raises:
        UserMistake: the address is no URL, over which `obstore` would panic, or not encrypted.
    """
    endpoints = {name: os.environ[name] for name in ENDPOINT_VARIABLES if name in os.environ}
    for name, value in endpoints.items():
        if not re.fullmatch(r"https?://[^\s/?#@]+/?[^\s?#@]*", value):
            do = f"Set {name} to a URL such as https://store.example:9000, without a user in it."
            raise UserMistake("is not a plain http or https URL", item=name, do=do)
        if value.startswith("http:") and os.environ.get("AWS_ALLOW_HTTP", "").lower() not in (
            "true", "1", "yes", "on", "y",
        ):  # fmt: skip
            do = "Use https, or set AWS_ALLOW_HTTP=true if data may travel in the clear."
            raise UserMistake("is a URL without encryption", item=name, do=do)
    return next(iter(endpoints.values()), "")
