"""A warehouse in a bucket, from the command line to other engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs
import pyarrow.parquet
import pytest

from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.storage.s3 import S3Store
from commonspace.pipeline.storage.s3_client import S3Client
from commonspace.pipeline.storage.store import open_store
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path, bucket: str) -> Warehouse:
    return Warehouse(tmp_path, open_store(bucket))


@pytest.fixture
def in_json(command: CommandLine) -> Callable[..., tuple[int, Any, str]]:
    """Runs a command: its exit code, what it answers with `--json`, and its messages."""

    def run(*arguments: str) -> tuple[int, Any, str]:
        answer = command(*arguments, "--json")
        return answer.returncode, answer.json if answer.stdout else None, answer.stderr

    return run


def data(count: int) -> list[dict[str, Any]]:
    return [{"id": f"i{n}", "text": f"the text of item {n}", "tag": n} for n in range(count)]


def objects(bucket: str) -> dict[str, str | None]:
    """Every object of what is published, and its etag."""
    client = S3Client(bucket)
    found = {key: answer[1] for key in client.list("") if (answer := client.get(key))}
    hidden = (".runs/", "things/text/v1/.promotion")
    return {key: tag for key, tag in found.items() if not key.startswith(hidden)}


def test_the_whole_way(
    warehouse: Warehouse, in_json: Callable[..., tuple[int, Any, str]], bucket: str, tmp_path: Any
) -> None:
    gates = {"max_reject_share": 0.2}
    warehouse.collection(
        [*data(300), {"id": "bad", "text": " ", "tag": 0}], source={"metadata": ["tag"]},
        gates=gates, run={"shard_rows": 50},
    )  # fmt: skip
    assert in_json("plan", "things")[1][0]["encode"] == 301
    assert S3Store(bucket).list("") == []
    code, (report,), said = in_json("run", "things")
    assert (code, report["ledger"]["encoded"], report["ledger"]["rejected"]) == (0, 300, 1), said
    before = objects(bucket)
    code, (report,), said = in_json("run", "things")
    assert (code, report["ledger"]["encoded"], report["ledger"]["kept"]) == (0, 0, 300), said
    assert objects(bucket) == before, "a second run writes nothing"
    (shown,) = in_json("show")[1]
    assert (shown["space"], shown["rows"], shown["release"]) == ("things/text/v1", 300, 1)
    assert shown["lancedb"] == f"{bucket}/lancedb/things__text__v1.lance"
    assert in_json("search", "things/text", "the text of item 7")[1]["hits"][0]["id"] == "i7"
    rows = in_json("get", "things/text", "i3", "no")[1]["rows"]
    assert [row["found"] for row in rows] == [True, False]
    assert in_json("rejects", "things/text")[1]["rejects"][0]["id"] == "bad"
    assert in_json("verify", "things/text")[1]["ok"] is True
    assert not list(tmp_path.glob("**/*.lance")), "nothing lies in a local folder"


def test_the_second_release_and_a_repair(
    warehouse: Warehouse, in_json: Callable[..., tuple[int, Any, str]], bucket: str
) -> None:
    source = {"metadata": ["tag"]}
    warehouse.collection(data(100), source=source, gates={"max_deleted_share": 0.5})
    assert in_json("run", "things")[0] == 0
    reader = warehouse.open()
    changed = [{**data(1)[0], "text": "another"}, *data(120)[40:]]
    warehouse.collection(changed, source=source, gates={"max_deleted_share": 0.5})
    code, (report,), said = in_json("run", "things")
    ledger = report["ledger"]
    assert (ledger["encoded"], ledger["deleted"], ledger["kept"]) == (21, 39, 60), said
    assert reader.search("the text of item 7", k=1)["id"].to_pylist() == ["i7"], "a reader stays"
    later = warehouse.open()
    assert len(later) == 81
    assert later.get(["i7"])["found"].to_pylist() == [False]
    S3Store(bucket).delete_prefix("lancedb/things__text__v1.lance/data")
    code, answer, _ = in_json("verify", "things/text")
    assert (code, answer["ok"]) == (1, False)
    assert in_json("verify", "things/text", "--repair")[1]["ok"] is True
    assert in_json("verify", "things/text")[1]["ok"] is True


@pytest.mark.crash
def test_runs_at_once_lose_nothing(warehouse: Warehouse, bucket: str) -> None:
    """Each over its own partition of one space."""
    names = [f"p{n}" for n in range(3)]
    lines = {
        name: [{"id": f"{name}-{n}", "text": f"text {n} of {name}"} for n in range(20)]
        for name in names
    }
    files = {f"{n}.jsonl": "\n".join(map(json.dumps, lines[n])).encode() for n in names}
    collection = warehouse.collection(source={"uri": "{partition}.jsonl"}, files=files)

    def run(partition: str) -> dict[str, Any]:
        return warehouse.run(collection, scope=Scope(partition=partition))

    with ThreadPoolExecutor(len(names)) as threads:
        reports = list(threads.map(run, names))
    assert [report.get("state") for report in reports] == ["promoted"] * 3, reports
    space = warehouse.open()
    expected = {row["id"] for rows in lines.values() for row in rows}
    assert set(space.to_arrow(["id"])["id"].to_pylist()) == expected
    assert space.release.number >= 3
    assert warehouse.verify()["ok"]


def test_other_engines_read_the_files(
    warehouse: Warehouse, in_json: Callable[..., tuple[int, Any, str]], bucket: str, s3_server: str
) -> None:
    warehouse.collection(data(50))
    assert in_json("run", "things")[0] == 0
    files = in_json("files", "things/text")[1]
    files = files["files"] if isinstance(files, dict) else files
    assert files == warehouse.open().files()
    assert all(file.startswith(f"{bucket}/things/text/v1/parts/") for file in files)
    place = urlsplit(s3_server)
    s3 = pyarrow.fs.S3FileSystem(
        access_key="t", secret_key="t", region="us-east-1", scheme=place.scheme,
        endpoint_override=place.netloc,
    )  # fmt: skip
    ids: list[str] = []
    for file in files:
        table = pyarrow.parquet.read_table(file.removeprefix("s3://"), filesystem=s3)
        ids += table["id"].to_pylist()
    assert sorted(ids) == sorted(row["id"] for row in data(50))
