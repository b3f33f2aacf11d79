"""A collection may raise the limit of pixels for its items; queries keep that of the encoder."""

from __future__ import annotations

import pytest
from PIL import Image

from commonspace.pipeline.errors import UserMistake
from tests.pipeline.source.images.image_files import saved
from tests.support.warehouse import Warehouse

pytest.importorskip("torchvision")
pytestmark = pytest.mark.models
SPACE = {
    "name": "text", "encoder": "torchvision/resnet18", "weights": "untrained", "image": "image",
}  # fmt: skip
LARGE = saved(Image.new("L", (7_000, 7_200), 90), "PNG")
FILES = {"pics/large.png": LARGE, "pics/good.png": saved(Image.linear_gradient("L"), "PNG")}


def test_items_of_more_pixels_than_a_query(warehouse: Warehouse) -> None:
    warehouse.run_without_error(
        warehouse.collection(
            source={"kind": "folder", "uri": "pics", "id": "path"}, spaces=[SPACE], files=FILES,
            limits={"max_image_pixels": 51_000_000},
        )
    )  # fmt: skip
    space = warehouse.open()
    assert sorted(space.to_arrow()["id"].to_pylist()) == ["good.png", "large.png"]
    assert space.search(image=FILES["pics/good.png"], k=1)["id"].to_pylist() == ["good.png"]
    with pytest.raises(UserMistake, match=r"7000 × 7200 pixels; the limit is 50,000,000"):
        space.search(image=LARGE)
