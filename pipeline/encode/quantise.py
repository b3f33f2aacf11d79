"""A space's encoder is quantised to int8, calibrated on the space's own items."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Content, Failure
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.source.content import read_content
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record, sha256_hex

CALIBRATED = 300
"""Items that decide the ranges; NNCF's own default, and more moved nothing measurable."""
COMPARED = 500
"""Items, others than those, on which the int8 model is compared with the encoder."""
FEWEST = 100


def quantise_space(collection: Collection, space: SpaceSection, folder: Path) -> dict[str, Any]:
    """Write the int8 model into `folder`, and measure on other items how close it comes.

    The items are those of the smallest content digests: a fair sample, the same every time.

    Raises:
        UserMistake: the space offers too few items.
        EncoderError: as `catalog.quantise`.
    """
    sample = heapq.nsmallest(CALIBRATED + COMPARED, _contents(collection, space))
    contents = [content for _, content in sample]
    if len(contents) < FEWEST:
        raise UserMistake(
            f"{len(contents)} different items are too few to calibrate on",
            item=f"{collection.name}/{space.name}",
            do=f"At least {FEWEST} are needed.",
        )
    calibrated = min(CALIBRATED, len(contents) * 2 // 3)
    result = catalog.quantise(
        collection.encoder_reference(space),
        folder.absolute(),
        contents[:calibrated],
        contents[calibrated:],
    )
    return {"collection": collection.name, "space": space.name, **result}


def _contents(collection: Collection, space: SpaceSection) -> Iterator[tuple[str, Content]]:
    """Each different content with its digest, which alone decides an order of them."""
    seen, access = set(), FileAccess.of(collection)
    for record in open_source(collection).scan(EVERYTHING):
        if not isinstance(record, Record):
            continue
        content = read_content(record, space, access)
        if content is None or isinstance(content, Failure):
            continue
        digest = sha256_hex(content)
        if digest not in seen:
            seen.add(digest)
            yield digest, content
