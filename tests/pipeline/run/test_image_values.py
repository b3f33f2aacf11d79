"""Images that a table holds as text or as a struct: what a run publishes of them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from commonspace.pipeline.source.records import Scope, sha256_hex
from tests.pipeline.run.source_files import notices
from tests.support.warehouse import Warehouse, items_with_images

SPACE = {"name": "image", "encoder": "hashed/64", "image": "image"}
GATES = {"max_reject_share": 1.0, "max_duplicate_vectors": 1.0}
PNG = b"\x89PNG\r\n\x1a\n and so on"
DATA = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def publish(warehouse: Warehouse, items: list[dict[str, Any]] | None, **options: Any) -> Any:
    """The published digests by id, and the reason and retryability of each reject."""
    collection = warehouse.collection(items, spaces=[SPACE], gates=GATES, **options)
    warehouse.run_without_error(collection)
    space = warehouse.open("things/image")
    rows = {row["id"]: row["content_digest"] for row in space.to_arrow().to_pylist()}
    rejects = space.rejects.to_pylist()
    return rows, {row["id"]: (row["reason"], row["retryable"]) for row in rejects}


def test_strings_are_images_or_lasting_rejects(warehouse: Warehouse) -> None:
    values = {
        "path": "sub/c.png", "blank": "a b.png", "data": DATA, "bare": DATA.partition(",")[2],
        "percent-data": f"data:,{quote(PNG)}", "percent": "a%20b.png", "windows": "sub\\c.png",
        "trailing": "sub/c.png ", "struct": {"path": "sub/c.png"}, "file": "file:sub/c.png",
        "https": "https://example.org/p/1.jpg", "s3": "s3://bucket/key.png",
        "elsewhere": "file:///etc/hostname", "absolute": "/srv/images/c.png", "up": "../x.png",
        "drive": "C:\\photos\\c.png", "blanks": "   ", "number": 5, "list": ["sub/c.png"],
        "cut": DATA[:-3], "late": "sub/late.png", "none": None,
    }  # fmt: skip
    items = [{"id": item, "image": value} for item, value in values.items()]
    rows, rejects = publish(warehouse, items, files={"sub/c.png": PNG, "a b.png": b"other"})
    right, other = sha256_hex(PNG), sha256_hex(b"other")
    assert rows == {
        **dict.fromkeys(
            ("path", "data", "bare", "percent-data", "windows", "trailing", "struct", "file"), right
        ),
        "blank": other, "percent": other,
    }  # fmt: skip
    assert rejects == {
        **dict.fromkeys(("https", "s3"), ("unsupported_address", False)),
        **dict.fromkeys(
            ("elsewhere", "absolute", "up", "drive", "blanks"), ("missing_content", False)
        ),
        **dict.fromkeys(("number", "list"), ("wrong_type", False)),
        "cut": ("unreadable_image", False), "late": ("missing_content", True),
    }  # fmt: skip


def test_the_struct_that_hugging_face_writes(warehouse: Warehouse) -> None:
    structs = [
        {"bytes": PNG, "path": None}, {"bytes": PNG, "path": "not/there.png"},
        {"bytes": None, "path": "c.png"}, {"bytes": None, "path": None}, None,
        {"bytes": None, "path": "hf://datasets/o/d/c.png"},
    ]  # fmt: skip
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"id": [*"abcdef"], "image": pa.array(structs, kind)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    files = {"data.parquet": sink.getvalue().to_pybytes(), "c.png": PNG}
    source = {"kind": "parquet", "uri": "data.parquet"}
    rows, rejects = publish(warehouse, None, source=source, files=files)
    assert rows == dict.fromkeys("abc", sha256_hex(PNG))
    assert rejects == {"f": ("unsupported_address", False)}


def test_a_row_whose_image_file_is_gone_stays_until_its_owner_lets_it_go(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    items, files = items_with_images(4)
    gates = {**GATES, "max_deleted_share": 0.3}
    collection = warehouse.collection(items, spaces=[SPACE], gates=gates, files=files)
    warehouse.run_without_error(collection)
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).unlink()
    report = warehouse.run_without_error(collection)
    assert notices(report) == {"content_gone": (2, ["i1", "i2"])}
    assert "--delete-missing" in report["notices"][0]["about"]
    assert (report["ledger"]["deleted"], report["ledger"]["rejected"]) == (0, 2)
    refused = warehouse.run(collection, delete_missing=True)
    assert "gate deleted_share refused: 2 of 4" in refused["what"]
    one = Scope(ids=frozenset(["i1"]))
    report = warehouse.run_without_error(collection, scope=one, delete_missing=True)
    assert (report["ledger"]["deleted"], report["notices"]) == (1, [])
    report = warehouse.run_without_error(collection)
    assert (report["state"], notices(report)) == ("unchanged", {"content_gone": (1, ["i2"])})
    assert set(warehouse.open("things/image").to_arrow()["id"].to_pylist()) == {"i0", "i2", "i3"}
