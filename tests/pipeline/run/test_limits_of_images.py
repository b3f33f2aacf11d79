"""Limits on images decide what is rejected, and a changed limit decides anew."""

from __future__ import annotations

from typing import Any

from tests.pipeline.source.images.image_files import jpeg_of_scans, tiff_of_directories
from tests.support.warehouse import Warehouse

SPACE = {"name": "text", "encoder": "hashed/64", "image": "image"}
FILES = {
    "pics/scans.jpg": jpeg_of_scans(120),
    "pics/pages.tif": tiff_of_directories(6_000),
    "pics/small.tif": tiff_of_directories(2),
}


def outcome(warehouse: Warehouse, **limits: int) -> tuple[list[str], dict[str, Any]]:
    collection = warehouse.collection(
        source={"kind": "folder", "uri": "pics", "id": "path"}, spaces=[SPACE], files=FILES,
        gates={"max_reject_share": 1.0, "max_deleted_share": 1.0}, limits=limits,
    )  # fmt: skip
    warehouse.run_without_error(collection)
    space = warehouse.open()
    rejects = {row["id"]: (row["reason"], row["message"]) for row in space.rejects.to_pylist()}
    return sorted(space.to_arrow()["id"].to_pylist()), rejects


def test_a_changed_limit_is_applied_by_the_next_run(warehouse: Warehouse) -> None:
    assert outcome(warehouse) == (["small.tif"], {
        "pages.tif": (
            "image_too_costly", "too many frames; `max_image_frames` in [limits] is 5,000"
        ),
        "scans.jpg": (
            "image_too_costly", "too many scans; `max_image_scans` in [limits] is 100"
        ),
    })  # fmt: skip
    rows, rejects = outcome(warehouse, max_image_scans=120, max_image_pixels=150)
    assert rows == ["small.tif"]
    assert rejects["scans.jpg"][0] == "image_too_large"
    rows, rejects = outcome(warehouse, max_image_scans=120, max_image_frames=6_000)
    assert (rows, rejects) == (["pages.tif", "scans.jpg", "small.tif"], {})
    rows, rejects = outcome(warehouse, max_file_bytes=500)
    assert {reason for reason, _ in rejects.values()} == {"too_large"}
