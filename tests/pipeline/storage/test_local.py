"""A folder as a store: full disks, missing permissions, and files where folders should be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commonspace.pipeline.errors import ContractBroken, StoreFailed
from commonspace.pipeline.storage.local import LocalStore
from tests.pipeline.storage.store_contents import read
from tests.support.checkout import REPOSITORY


def test_failed_writes_leave_nothing_behind(local: LocalStore) -> None:
    """A limit on files' sizes stands in for a full disk: a write fails half-way through."""
    local.put("old", b"before")
    script = (
        "import pathlib, resource, sys\n"
        "from commonspace.pipeline.errors import StoreFailed\n"
        "from commonspace.pipeline.storage.local import LocalStore\n"
        "store, data = LocalStore(pathlib.Path(sys.argv[1])), b'x' * 200_000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "for write, *given in ((store.put_if_absent, 'new', data), (store.put, 'old', data),\n"
        "                      (store.compare_and_swap, 'old', b'before', data)):\n"
        "    try: write(*given)\n"
        "    except StoreFailed as error: print(error.retry, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(local.root)], cwd=REPOSITORY, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("True ") == done.stdout.count("File too large") == 3
    assert read(local, "old") == b"before"
    assert sorted(path.name for path in local.root.iterdir()) == [".lock", "old"]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[LocalStore]:
    """A warehouse on a disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield LocalStore(disk / "warehouse")
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("method", ["put_if_absent", "put", "compare_and_swap"])
def test_a_full_disk_is_reported_with_advice(method: str, tiny: LocalStore) -> None:
    tiny.put("old", b"before")
    calls: dict[str, Callable[[], object]] = {
        "put_if_absent": lambda: tiny.put_if_absent("new", b"x" * 500_000),
        "put": lambda: tiny.put("old", b"x" * 500_000),
        "compare_and_swap": lambda: tiny.compare_and_swap("old", b"before", b"x" * 500_000),
    }
    with pytest.raises(StoreFailed, match="No space left on device") as error:
        calls[method]()
    assert error.value.retry
    assert "disk is full" in str(error.value)
    assert tiny.list("") == ["old"]
    assert read(tiny, "old") == b"before"
    tiny.put("old", b"x" * 100_000)  # nothing of the failed write takes up the space


def test_a_warehouse_below_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    store = LocalStore(tmp_path / "file")
    for call in (lambda: store.read("a"), lambda: store.exists("a"),
                 lambda: store.put_if_absent("a", b"x"), lambda: store.put("a", b"x"),
                 lambda: store.compare_and_swap("a", None, b"x")):  # fmt: skip
        with pytest.raises(StoreFailed, match="the warehouse failed") as error:
            call()
        assert error.value.item == str(tmp_path / "file" / "a")


def test_a_folder_is_no_object(local: LocalStore) -> None:
    local.put_if_absent("a/b", b"x")
    for call in (
        lambda: local.read("a"),
        lambda: local.exists("a"),
        lambda: local.put("a", b"x"),
        lambda: local.delete("a"),
        lambda: local.compare_and_swap("a", b"x", b"y"),
    ):
        with pytest.raises((ContractBroken, StoreFailed), match=r"[Ff]older|directory|permitted"):
            call()
    assert not local.put_if_absent("a", b"x")
    assert local.list("") == ["a/b"]


@pytest.mark.parametrize("root", ["/proc/commonspace", "/sys/commonspace"])
def test_a_place_that_cannot_be_written_is_reported(root: str) -> None:
    if not Path(root).parent.is_dir():
        pytest.skip(f"no {Path(root).parent} here")
    with pytest.raises(StoreFailed, match="the warehouse failed") as error:
        LocalStore(Path(root)).put_if_absent("a", b"x")
    assert "run again" in str(error.value) or "Permission" in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_missing_permission_is_reported_with_advice(local: LocalStore) -> None:
    local.put_if_absent("a/b", b"x")
    (local.root / "a").chmod(0o500)
    with pytest.raises(StoreFailed, match="Permission denied") as error:
        local.put_if_absent("a/c", b"x")
    assert "let this user write" in str(error.value)
    assert not error.value.retry


def test_a_read_only_disk_is_reported_with_advice(tiny: LocalStore) -> None:
    tiny.put_if_absent("a", b"x")
    disk = str(tiny.root.parent)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(StoreFailed, match="Read-only file system") as error:
        tiny.put_if_absent("b", b"x")
    assert "COMMONSPACE_WAREHOUSE" in str(error.value)
    assert not error.value.retry
    assert read(tiny, "a") == b"x"
