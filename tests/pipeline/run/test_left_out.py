"""A run over a folder says what it left out, in its report and in the release's manifest."""

from __future__ import annotations

from pathlib import Path

from commonspace.pipeline.release.manifest import load_release
from tests.support.warehouse import NAME, Warehouse

SPACE = {"name": "text", "encoder": "hashed/64", "image": "image"}
LINK = "link to a folder outside of the source; `link_roots` allows it"


def test_a_linked_folder_is_offered_or_said_to_be_left_out(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    source = {"kind": "folder", "uri": "pics", "id": "path"}
    files = {"pics/a.png": b"a", "pics/b.svg": b"b", "elsewhere/c.png": b"c"}
    collection = warehouse.collection(source=source, spaces=[SPACE], files=files)
    (tmp_path / "pics/more").symlink_to("../elsewhere")
    report = warehouse.run_without_error(collection)
    counts = {notice["about"]: notice["count"] for notice in report["notices"]}
    assert counts == {"suffix .svg": 1, LINK: 1}
    stored = load_release(warehouse.store, NAME, 1).notices
    assert {notice["about"]: notice["count"] for notice in stored} == counts
    source["link_roots"] = ["elsewhere"]
    warehouse.run_without_error(warehouse.collection(source=source, spaces=[SPACE]))
    ids = warehouse.open().to_arrow()["id"].to_pylist()
    assert sorted(ids) == ["a.png", "more/c.png"]
