"""The bounds on an image: is it cheap enough for a decoder, by what its file says of itself?"""

from __future__ import annotations

from commonspace.encoders.protocol import Failure, Reason, beyond_limit
from commonspace.pipeline.config.sections import LimitsSection
from commonspace.pipeline.source.images.structure import count_parts

_TAG_SHARE = 16
"""Bytes that the tags of a file may name, for each byte of it. Pages may share some; a file of 1 MB
whose tags name 100 GB fills the memory."""


def exceeded_bound(content: bytes, limits: LimitsSection) -> Failure | None:
    """Why the image may not be decoded, or None.

    Args:
        content: the bytes of an image file, or of anything else.
        limits: `max_image_…` are the bounds.
    """
    frames = scans = tag_bytes = 0
    for part in count_parts(content):
        if part.width * part.height > limits.max_image_pixels:
            size = f"{part.width} × {part.height} pixels"
            return _exceeded(size, "pixels", limits.max_image_pixels, Reason.IMAGE_TOO_LARGE)
        frames, scans = frames + part.frames, scans + part.scans
        tag_bytes += part.tag_bytes
        if frames > limits.max_image_frames:
            return _exceeded("too many frames", "frames", limits.max_image_frames)
        if scans > limits.max_image_scans:
            return _exceeded("too many scans", "scans", limits.max_image_scans)
        if tag_bytes > _TAG_SHARE * len(content):
            message = f"its tags name {_TAG_SHARE} times as many bytes as the file has, or more"
            return Failure(Reason.IMAGE_TOO_COSTLY, message)
        if part.overlaps:
            message = "its directories overlap: together they are longer than the file"
            return Failure(Reason.IMAGE_TOO_COSTLY, message)
    return None


def _exceeded(
    what: str, bound: str, limit: int, reason: Reason = Reason.IMAGE_TOO_COSTLY
) -> Failure:
    return beyond_limit(reason, what, f"max_image_{bound}", limit)
