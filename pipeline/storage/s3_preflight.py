"""Does a bucket keep to conditional writes? One that ignores them loses rows without a word."""

from __future__ import annotations

import secrets

from commonspace.pipeline.errors import StoreFailed
from commonspace.pipeline.storage.s3_client import S3Client

NO_OBJECT = f'"{"0" * 32}"'
"""An etag that no object has."""


def check_conditional_writes(bucket: S3Client) -> None:
    """Write a probe in every way that must succeed or be refused. Raises StoreFailed."""
    probe = f".probe-{secrets.token_hex(8)}"
    try:
        problem = _problem(bucket, probe)
    finally:
        bucket.delete([probe])
    if problem:
        raise StoreFailed(
            f"this store cannot hold a warehouse: {problem}",
            item=bucket.address,
            do="Two runs at once would lose rows without a word, so nothing is written. Use a "
            "store (or a version, or a proxy) that keeps to If-None-Match and If-Match on PUT.",
        )


def _problem(bucket: S3Client, probe: str) -> str | None:
    if not bucket.put_if(probe, b"1", None):
        return "it refuses to put an object that is absent (If-None-Match)"
    if bucket.put_if(probe, b"2", None):
        return "it overwrites an object that must be absent (If-None-Match)"
    if bucket.put_if(probe, b"2", NO_OBJECT):
        return "it overwrites an object that has changed (If-Match)"
    found = bucket.get(probe)
    if found is None or found[0].to_pybytes() != b"1":
        return "it does not read what was just written"
    if not bucket.put_if(probe, b"3", found[1]):
        return "it refuses to put over an object that has not changed (If-Match)"
    if bucket.put_if(probe, b"4", found[1]):
        return "it overwrites an object that has changed (If-Match)"
    return None
