"""An image that is decoded for too long is a reject, until its owner gives it more time."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from tests.pipeline.source.images.image_files import jpeg_of_scans, saved
from tests.support.warehouse import Warehouse

pytest.importorskip("torchvision")
pytestmark = pytest.mark.models
SPACE = {
    "name": "text", "encoder": "torchvision/resnet18", "weights": "untrained", "image": "image",
}  # fmt: skip
FILES = {
    "pics/costly.jpg": jpeg_of_scans(3_000, side=2_000),
    "pics/good.png": saved(Image.linear_gradient("L"), "PNG"),
}


def publish(warehouse: Warehouse, seconds: float) -> tuple[list[str], list[str], dict[str, Any]]:
    """The ids of rows, the messages of rejects, and the report."""
    collection = warehouse.collection(
        source={"kind": "folder", "uri": "pics", "id": "path"}, spaces=[SPACE], files=FILES,
        gates={"max_reject_share": 1.0},
        limits={"max_image_scans": 3_000, "max_image_seconds": seconds},
    )  # fmt: skip
    report = warehouse.run_without_error(collection)
    space = warehouse.open()
    messages = [row["message"] for row in space.rejects.to_pylist()]
    return sorted(space.to_arrow()["id"].to_pylist()), messages, report


def test_an_image_beyond_the_limit_of_time(warehouse: Warehouse) -> None:
    late = "decoding takes too long; `max_image_seconds` in [limits] is 1"
    assert publish(warehouse, 1.0)[:2] == (["good.png"], [late])
    rows, messages, report = publish(warehouse, 1.0)
    assert (rows, messages, report["ledger"]["encoded"]) == (["good.png"], [late], 0)
    assert publish(warehouse, 60.0)[:2] == (["costly.jpg", "good.png"], [])
    rows, messages, _ = publish(warehouse, 1.0)
    assert (rows, messages) == (["costly.jpg", "good.png"], [])
