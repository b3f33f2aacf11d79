"""Rejects of the release before that another attempt cannot help."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Reason, too_slow
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.storage.store import Store


def known_rejects(
    store: Store, base: Release | None, image_seconds: float, *, retry: bool
) -> pa.Table:
    """`id` and `content_digest` of failures that another attempt cannot help.

    Args:
        store: the warehouse.
        base: the release whose rejects are read.
        image_seconds: how long an image may be decoded now: what another limit refused is no known
            failure.
        retry: whether the run tries rejects again, so that none is known.
    """
    rejects = read_rejects(store, base)
    rejects = rejects.slice(0, 0) if retry else permanent_rejects(rejects, image_seconds)
    return rejects.select(["id", "content_digest"])


def permanent_rejects(rejects: pa.Table, image_seconds: float) -> pa.Table:
    """Those that the encoder would refuse again; see `known_rejects`."""
    permanent = pc.and_(pc.invert(rejects["retryable"]), pc.equal(rejects["stage"], "encode"))
    late = pc.equal(rejects["reason"], str(Reason.IMAGE_TOO_COSTLY))
    same_limit = pc.equal(rejects["message"], too_slow(image_seconds).message)
    permanent = pc.and_(permanent, pc.or_(pc.invert(late), same_limit))
    return rejects.filter(pc.and_(permanent, pc.is_valid(rejects["content_digest"])))
