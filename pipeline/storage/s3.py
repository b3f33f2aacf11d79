"""A warehouse in an S3-compatible bucket."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from commonspace.pipeline.storage.lease import lease
from commonspace.pipeline.storage.s3_client import S3Client
from commonspace.pipeline.storage.s3_preflight import check_conditional_writes

_checked: set[tuple[str, str]] = set()
"""Endpoint and address of the buckets that this process has checked for conditional writes."""


class S3Store:
    """Objects below `s3://bucket/prefix`.

    Before its first write, a process checks that the bucket honours conditional writes.
    """

    def __init__(self, address: str) -> None:
        self._client = S3Client(address)
        self.address = self._client.address

    @property
    def scratch(self) -> Path:
        return Path(tempfile.gettempdir())

    def url(self, key: str) -> str:
        return f"{self.address}/{key}"

    def read(self, key: str) -> pa.Buffer | None:
        answer = self._client.get(key)
        return None if answer is None else answer[0]

    def exists(self, key: str) -> bool:
        return self._client.exists(key)

    def put_if_absent(self, key: str, data: bytes | pa.Buffer) -> bool:
        return self._writable.put_if(key, data, None)

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        self._writable.put(key, data)

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        if expected is None:
            return self.put_if_absent(key, data)
        answer = self._client.get(key)
        if answer is None or answer[0].to_pybytes() != expected:
            return False
        return self._writable.put_if(key, data, answer[1])

    def folders(self, prefix: str) -> list[str]:
        return self._client.folders(prefix)

    def list(self, prefix: str) -> list[str]:
        return sorted(self.list_with_mtime(prefix))

    def list_with_mtime(self, prefix: str) -> dict[str, float]:
        times = self._client.list(prefix).items()
        return {key: time for key, time in times if not key.rpartition("/")[2].startswith(".")}

    def list_temporary(self, prefix: str) -> dict[str, float]:  # noqa: ARG002
        """None, ever: an object is there whole or not at all."""
        return {}

    def delete(self, key: str) -> None:
        self._client.delete([key])

    def delete_prefix(self, prefix: str) -> None:
        self._client.delete(self._client.list(prefix))

    def lock(self, key: str) -> AbstractContextManager[None]:
        return lease(self, key)

    def flush(self, prefix: str) -> None:
        """Nothing to do: a bucket keeps what it has acknowledged."""

    @property
    def _writable(self) -> S3Client:
        """The client, once the bucket has been checked."""
        bucket = (self._client.endpoint, self.address)
        if bucket not in _checked:
            check_conditional_writes(self._client)
            _checked.add(bucket)
        return self._client
