"""Does a bucket honour conditional writes? One that ignores them silently loses rows."""

from __future__ import annotations

import secrets

from commonspace.pipeline.errors import StoreFailed
from commonspace.pipeline.storage.s3_client import S3Client

NO_OBJECT = f'"{"0" * 32}"'
"""An etag that no object has."""


def check_conditional_writes(bucket: S3Client) -> None:
    """Write a probe object in every way that must succeed, and every way that must be refused.

    Raises:
        StoreFailed: the bucket did otherwise, or did not answer.
    """
    probe = f".probe-{secrets.token_hex(8)}"
    try:
        problem = _find_problem(bucket, probe)
    finally:
        bucket.delete([probe])
    if problem:
        raise StoreFailed(
            f"this store cannot hold a warehouse: {problem}",
            item=bucket.address,
            do="Two runs at once would silently lose rows, so nothing is written. Use a store (or "
            "a version, or a proxy) that honours If-None-Match and If-Match on PUT.",
        )


def _find_problem(bucket: S3Client, probe: str) -> str | None:
    if not bucket.put_if(probe, b"1", None):
        return "it refuses to put an object that is absent (If-None-Match)"
    if bucket.put_if(probe, b"2", None):
        return "it overwrites an object that must be absent (If-None-Match)"
    if bucket.put_if(probe, b"2", NO_OBJECT):
        return "it overwrites an object that has changed (If-Match)"
    answer = bucket.get(probe)
    if answer is None or answer[0].to_pybytes() != b"1":
        return "it does not read what was just written"
    if not bucket.put_if(probe, b"3", answer[1]):
        return "it refuses to overwrite an object that has not changed (If-Match)"
    if bucket.put_if(probe, b"4", answer[1]):
        return "it overwrites an object that has changed (If-Match)"
    return None
