"""A warehouse in an S3-compatible bucket."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from commonspace.pipeline.storage.lease import lease
from commonspace.pipeline.storage.s3_client import S3Client
from commonspace.pipeline.storage.s3_preflight import check_conditional_writes

_proven: set[tuple[str, str]] = set()
"""The stores that this process has found to keep to conditional writes."""


class S3Store:
    """Objects below `s3://bucket/prefix`. Before the first write, the store itself is tried."""

    def __init__(self, address: str) -> None:
        self._bucket = S3Client(address)
        self.address = self._bucket.address

    @property
    def scratch(self) -> Path:
        return Path(tempfile.gettempdir())

    def url(self, key: str) -> str:
        return f"{self.address}/{key}"

    def read(self, key: str) -> pa.Buffer | None:
        found = self._bucket.get(key)
        return None if found is None else found[0]

    def put_if_absent(self, key: str, data: bytes | pa.Buffer) -> bool:
        return self._writable.put_if(key, data, None)

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        self._writable.put(key, data)

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        if expected is None:
            return self.put_if_absent(key, data)
        found = self._bucket.get(key)
        if found is None or found[0].to_pybytes() != expected:
            return False
        return self._writable.put_if(key, data, found[1])

    def folders(self, prefix: str) -> list[str]:
        return self._bucket.folders(prefix)

    def list(self, prefix: str) -> list[str]:
        return sorted(self.list_with_mtime(prefix))

    def list_with_mtime(self, prefix: str) -> dict[str, float]:
        found = self._bucket.list(prefix).items()
        return {key: at for key, at in found if not key.rpartition("/")[2].startswith(".")}

    def list_temporary(self, prefix: str) -> dict[str, float]:  # noqa: ARG002
        """None: an object is there whole or not at all."""
        return {}

    def delete(self, key: str) -> None:
        self._bucket.delete([key])

    def delete_prefix(self, prefix: str) -> None:
        self._bucket.delete(self._bucket.list(prefix))

    def lock(self, key: str) -> AbstractContextManager[None]:
        return lease(self, key)

    def flush(self, prefix: str) -> None:
        """Nothing to do: a bucket keeps what it has acknowledged."""

    @property
    def _writable(self) -> S3Client:
        place = (self._bucket.endpoint, self.address)
        if place not in _proven:
            check_conditional_writes(self._bucket)
            _proven.add(place)
        return self._bucket
