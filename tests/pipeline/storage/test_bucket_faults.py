"""Stores that ignore what they are asked, answer with errors, hang up, or are slow."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.errors import StoreFailed, UserMistake
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.read.space import open_space
from commonspace.pipeline.storage.s3 import S3Store
from commonspace.pipeline.storage.s3_client import S3Client
from commonspace.pipeline.storage.store import open_store
from tests.crash.share import EVERY
from tests.pipeline.storage.faulty_proxy import Proxy, proxy
from tests.pipeline.storage.store_contents import increment
from tests.support.warehouse import Warehouse

Through = Callable[..., Proxy]
EVERY_FAULT = ("500", "503", "drop", "lose", "cut")


@pytest.fixture
def through(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Through]:
    """Puts a proxy between this process and the store."""
    with ExitStack() as stack:

        def put(**ways: Any) -> Proxy:
            made: AbstractContextManager[Proxy] = proxy(s3_server, **ways)
            found = stack.enter_context(made)
            monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
            return found

        yield put


def plain(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The store without a proxy before it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    return S3Store(bucket)


def every_key(store: S3Store) -> list[str]:
    """Those that `list` hides included."""
    return sorted(S3Client(store.address).list(""))


# --- the preflight -----------------------------------------------------------------------


@pytest.mark.parametrize("header", ["if-none-match", "if-match"])
@pytest.mark.parametrize("write", ["put_if_absent", "put", "compare_and_swap"])
def test_a_store_that_ignores_conditions_is_refused(
    header: str, write: str, bucket: str, s3_server: str, through: Through,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    through(without=frozenset({header}))
    store = S3Store(bucket)
    given = {"put_if_absent": (b"x",), "put": (b"x",), "compare_and_swap": (None, b"x")}[write]
    for _ in range(2):
        with pytest.raises(StoreFailed, match=r"cannot hold a warehouse.* \(If-") as error:
            getattr(store, write)("a", *given)
        assert header in str(error.value).lower()
        assert not error.value.retry
    assert every_key(plain(bucket, s3_server, monkeypatch)) == []


def test_a_run_on_such_a_store_publishes_nothing(
    warehouse: Warehouse, bucket: str, s3_server: str, through: Through,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    through(without=frozenset({"if-none-match"}))
    with pytest.raises(StoreFailed, match="cannot hold a warehouse"):
        run_into(bucket, warehouse.collection([{"id": "a", "text": "x"}]))
    assert every_key(plain(bucket, s3_server, monkeypatch)) == []


def test_a_store_is_tried_once_a_process_and_only_before_a_write(
    bucket: str, through: Through
) -> None:
    met = through().met
    store = open_store(bucket)
    assert store.read("a") is None
    assert met["requests"] == 1
    store.put("a", b"1")
    tried = met["requests"]
    assert tried > 6
    store.put("a", b"2")
    open_store(bucket).put("a", b"3")
    assert met["requests"] == tried + 2


# --- single requests ---------------------------------------------------------------------


def test_a_write_whose_answer_is_lost_has_happened(bucket: str, through: Through) -> None:
    way = through()
    store = open_store(bucket)
    assert store.put_if_absent("before", b"x")
    way.coming = ["lose"]
    assert store.put_if_absent("a", b"1")
    way.coming = [None, "lose"]
    assert store.compare_and_swap("a", b"1", b"2")
    way.coming = ["lose"]
    assert not store.put_if_absent("a", b"3")
    way.coming = [None, "lose"]
    assert not store.compare_and_swap("a", b"1", b"3")
    data = store.read("a")
    assert data is not None
    assert data.to_pybytes() == b"2"


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_one_fault_is_not_noticed(fault: str, bucket: str, through: Through) -> None:
    way = through()
    store = open_store(bucket)
    store.put("there", b"x" * 1000)
    calls: list[Callable[[], object]] = [
        lambda: store.read("there"), lambda: store.read("not there"), lambda: store.list(""),
        lambda: store.exists("there"), lambda: store.exists("not there"),
        lambda: store.folders(""), lambda: store.put_if_absent("new", b"x"),
        lambda: store.compare_and_swap("new", b"x", b"y"), lambda: store.put("new", b"z"),
        lambda: store.delete("new"), lambda: store.delete_prefix("nothing"),
    ]  # fmt: skip
    for call in calls:
        way.coming = [fault]
        call()
        assert not way.coming
    assert store.list("") == ["there"]


def test_to_learn_that_an_object_exists_does_not_read_it(bucket: str, through: Through) -> None:
    met = through().met
    store = open_store(bucket)
    store.put("large", b"x" * 1_000_000)
    before = met["GET"]
    assert store.exists("large")
    assert met["GET"] == before


def test_swaps_over_a_bad_line_lose_no_increment(bucket: str, through: Through) -> None:
    way = through(seed=3)

    def add_five(_: int) -> None:
        increment(open_store(bucket), "count", times=5)

    open_store(bucket).put("other", b"")
    way.faults, way.share = ("500", "503", "drop", "lose"), 0.1
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add_five, range(4)))
    assert sum(way.met[fault] for fault in way.faults) > 3
    data = open_store(bucket).read("count")
    assert data is not None
    assert int(data.to_pybytes()) >= 20


def test_a_missing_bucket_is_reported(bucket: str) -> None:
    store = open_store("s3://there-is-no-such-bucket/w")
    for call in (
        lambda: store.read("a"),
        lambda: store.exists("a"),
        lambda: store.list(""),
        lambda: store.folders(""),
        lambda: store.put_if_absent("a", b"x"),
        lambda: store.put("a", b"x"),
        lambda: store.compare_and_swap("a", None, b"x"),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreFailed, match="no such bucket") as error:
            call()
        assert not error.value.retry


def test_missing_permission_is_reported_without_secrets(bucket: str, through: Through) -> None:
    way = through()
    store = open_store(bucket)
    store.put("a", b"x")
    way.faults, way.share = ("403",), 1.0
    for call in (
        lambda: store.read("a"),
        lambda: store.exists("a"),
        lambda: store.list(""),
        lambda: store.put_if_absent("b", b"x"),
        lambda: store.compare_and_swap("a", b"x", b"y"),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreFailed, match="refuses these credentials") as error:
            call()
        assert not error.value.retry
        assert bucket in str(error.value)
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(error.value)


def test_missing_credentials_are_reported(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", s3_server)  # knows of none either
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreFailed, match="no credentials") as error:
        open_store(bucket).read("a")
    assert "AWS_ACCESS_KEY_ID" in error.value.do


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "not a url"),
        ("AWS_ENDPOINT_URL", ""),
        ("AWS_ENDPOINT_URL", "ftp://store"),
        ("AWS_ENDPOINT", "store:9000"),
        ("AWS_ENDPOINT_URL_S3", "https://user:secret@store"),
        ("AWS_ALLOW_HTTP", "false"),
    ],
)
def test_an_endpoint_that_cannot_be_meant_is_a_mistake(
    name: str, value: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserMistake, match="AWS_ENDPOINT") as error:
        open_store(bucket)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix"])
def test_an_address_without_a_bucket_is_a_mistake(address: str) -> None:
    with pytest.raises(UserMistake, match="no bucket"):
        open_store(address)


def put_by_hand(s3_server: str, path: str) -> None:
    """As a console or another tool would."""
    signed = "AWS4-HMAC-SHA256 Credential=t/20200101/us-east-1/s3/aws4_request"
    request = urllib.request.Request(
        f"{s3_server}/{path}", data=b"", method="PUT", headers={"Authorization": signed}
    )
    with urllib.request.urlopen(request):
        pass


def test_a_folder_made_by_a_console_is_no_object(bucket: str, s3_server: str) -> None:
    put_by_hand(s3_server, bucket.removeprefix("s3://") + "/")
    store = open_store(bucket)
    assert store.list("") == store.folders("") == []
    store.put("a/b", b"x")
    assert store.list("") == ["a/b"]


def test_an_object_that_cannot_be_named_is_reported(bucket: str, s3_server: str) -> None:
    put_by_hand(s3_server, bucket.removeprefix("s3://") + "/a//b")
    with pytest.raises(StoreFailed, match="not part of a warehouse") as error:
        open_store(bucket).list("")
    assert not error.value.retry


@pytest.mark.parametrize("key", ["a//b", "a\nb"])
def test_a_key_that_no_bucket_keeps_is_reported(key: str, bucket: str) -> None:
    for call in (
        lambda: open_store(bucket).read(key),
        lambda: open_store(bucket).exists(key),
        lambda: open_store(bucket).put_if_absent(key, b""),
    ):
        with pytest.raises(StoreFailed, match="does not support this request") as error:
            call()
        assert not error.value.retry


@pytest.mark.crash
def test_a_dead_store_is_reported_within_a_minute(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreFailed, match="did not answer") as error:
        open_store(bucket).read("a")
    assert error.value.retry


# --- whole runs --------------------------------------------------------------------------


def run_into(bucket: str, collection: Collection) -> dict[str, Any]:
    """The report of a run whose connection to the bucket is made now."""
    return Warehouse(collection.path.parent, open_store(bucket)).run(collection)


def items(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": f"i{n:03}", "text": f"the text of item {n}"} for n in range(first, last)]


@pytest.mark.parametrize("hidden", ["other/text/v1/CURRENT", "other/text/v1/parts", "other/"])
def test_what_a_policy_hides_is_no_source_of_vectors(
    warehouse: Warehouse, bucket: str, through: Through, hidden: str
) -> None:
    """The run encodes what it could have copied, and says so; its own space it must read."""
    run_into(bucket, warehouse.collection(items(0, 4), name="other"))
    way = through()
    way.hidden = f"/{hidden}"
    collection = warehouse.collection(items(0, 4))
    report = run_into(bucket, collection)
    assert report["ledger"]["encoded"] == 4
    (notice,) = report["notices"]
    where = "in other" if hidden == "other/" else "in other/text/v1"
    assert (notice["kind"], notice["about"]) == ("source_skipped", where)
    assert "refuses these credentials" in notice["examples"][0]
    way.hidden = "/things/text/v1"
    with pytest.raises(StoreFailed):
        run_into(bucket, collection)


def run_through_faults(warehouse: Warehouse, bucket: str, way: Proxy) -> None:
    """First runs, later runs: each completes or stops with StoreFailed, and the next one heals."""
    gates = {"max_deleted_share": 1.0}
    for first, last in ((0, 60), (20, 90), (20, 90), (0, 40)):
        collection = warehouse.collection(items(first, last), gates=gates, run={"shard_rows": 20})
        share, way.share = way.share, 0.0
        before = served(bucket)
        way.share = share
        try:
            report = run_into(bucket, collection)
            failed = "error" in report
            assert not failed or (report["error"], report["retry"]) == ("StoreFailed", True), report
        except StoreFailed:
            failed = True
        way.share = 0.0
        assert served(bucket) in (before, {row["id"] for row in items(first, last)})
        if failed:
            way.met["failed runs"] += 1
            assert "error" not in run_into(bucket, collection)
        assert served(bucket) == {row["id"] for row in items(first, last)}
        answer = verify_space(open_store(bucket), "things/text")
        assert answer.ok, answer.problems
        way.share = share
    print(dict(way.met))  # noqa: T201


def served(bucket: str) -> set[str]:
    if open_store(bucket).read("things/text/v1/CURRENT") is None:
        return set()
    return set(open_space("things/text", warehouse=bucket).to_arrow(["id"])["id"].to_pylist())


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(0, 10, EVERY))
def test_five_percent_of_faults(
    seed: int, warehouse: Warehouse, bucket: str, through: Through
) -> None:
    way = through(faults=EVERY_FAULT, share=0.05, seed=seed)
    run_through_faults(warehouse, bucket, way)
    assert sum(way.met[fault] for fault in EVERY_FAULT) > 5, way.met


@pytest.mark.crash
@pytest.mark.parametrize("share", [0.2, 0.4])
def test_many_faults(share: float, warehouse: Warehouse, bucket: str, through: Through) -> None:
    way = through(faults=EVERY_FAULT, share=share)
    run_through_faults(warehouse, bucket, way)


@pytest.mark.crash
@pytest.mark.parametrize("after", [40, 90, 140])
def test_an_outage_stops_a_run_and_the_next_one_heals(
    after: int, warehouse: Warehouse, bucket: str, through: Through
) -> None:
    way = through()
    collection = warehouse.collection(items(0, 60), run={"shard_rows": 20})
    way.coming = [None] * after + ["503"] * 10_000
    with pytest.raises(StoreFailed, match="did not answer") as error:
        run_into(bucket, collection)
    assert error.value.retry
    way.coming = []
    assert served(bucket) in (set(), {row["id"] for row in items(0, 60)})
    assert "error" not in run_into(bucket, collection)
    assert served(bucket) == {row["id"] for row in items(0, 60)}
    assert verify_space(open_store(bucket), "things/text").ok


@pytest.mark.crash
def test_a_slow_store(warehouse: Warehouse, bucket: str, through: Through) -> None:
    through(delay=0.01)
    assert run_into(bucket, warehouse.collection(items(0, 20)))["state"] == "promoted"
    assert len(open_space("things/text", warehouse=bucket)) == 20
