"""Whoever has edited the JSON of a warehouse: it is read as what it is, or ContractBroken."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.canary.check import CanaryNote
from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.documents import check_types
from commonspace.pipeline.encode.notes import EncodeNote
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.plan.vector_sources import ReuseNote
from commonspace.pipeline.publish.notes import PromotionNote, PublishNote
from commonspace.pipeline.publish.pending import announce, load_pending_promotion
from commonspace.pipeline.read.catalog import list_spaces
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.markers.pins import load_pins, pin_release
from commonspace.pipeline.release.markers.removal import load_pending_removal
from commonspace.pipeline.release.markers.retirement import load_retirement, retire_space
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.run.notes import RunReport
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary
from tests.support.edited_json import NO_DOCUMENTS, edits
from tests.support.warehouse import NAME, Warehouse, numbered_items

HOME = Path("things/text/v1")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A warehouse with every kind of JSON that is read again, its last run's folder included."""
    warehouse = Warehouse.within(tmp_path_factory.mktemp("state"))
    limits = {"gates": {"max_reject_share": 1.0}, "source": {"metadata": {"n": "int64"}}}
    warehouse.run_without_error([*numbered_items(3, n=1), {"id": "e", "text": " "}], **limits)
    warehouse.run_without_error([*numbered_items(5, n=1), {"id": "e", "text": " "}], **limits)
    pin_release(warehouse.store, NAME, 1, "a reason")
    retire_space(warehouse.store, NAME, "over")
    announce(warehouse.store, NAME, load_release(warehouse.store, NAME, 2), "promote")
    warehouse.store.put(f"{HOME}/CONDEMNED", b'{"releases": [7], "files": ["things/text/v1/x"]}')
    return warehouse


def readers(warehouse: Warehouse) -> dict[str, Callable[[], Any]]:
    """How each file is read, by its key below the warehouse, or below the folder of a run."""
    store = warehouse.store
    return {
        "spec.json": lambda: load_contract(store, NAME),
        "releases/000002.json": lambda: load_release(store, NAME, 2),
        "CURRENT": lambda: load_current(store, NAME),
        "pins/000001.json": lambda: load_pins(store, NAME).get(1),
        "RETIRED": lambda: load_retirement(store, NAME),
        "PROMOTING": lambda: load_pending_promotion(store, NAME),
        "CONDEMNED": lambda: load_pending_removal(store, NAME),
    }


def test_every_edit_of_a_space(state: Warehouse) -> None:
    for file, read in readers(state).items():
        path = state.root / HOME / file
        good = path.read_bytes()
        refused = 0
        for name, data in edits(good):
            path.write_bytes(data)
            refused += is_refused(read, f"{file}: {name}")
        path.write_bytes(good)
        assert refused > 20, file
        read()


NOTES = [
    PlanSummary,
    Verdict,
    PublishNote,
    PromotionNote,
    RunReport,
    EncodeNote,
    CanaryNote,
    ReuseNote,
]


def test_every_edit_of_a_run(state: Warehouse) -> None:
    newest = max(state.root.glob(".runs/things/*/run.json"), key=lambda path: path.stat().st_mtime)
    work = state.work(state.collection(), newest.parent.name)
    read: dict[Path, Callable[[], Any]] = {newest: work.run.read_note}
    for kind in NOTES:
        paths = list((newest.parent / "text-v1").glob(kind.FILE))
        assert paths or kind is ReuseNote, kind
        read |= {path: lambda kind=kind: work.read_notes(kind) for path in paths}
    for path, reader in read.items():
        good = path.read_bytes()
        refused = 0
        for name, data in edits(good):
            path.write_bytes(data)
            refused += is_refused(reader, f"{path.name}: {name}")
        path.write_bytes(good)
        assert refused > 10, path
        reader()


def is_refused(read: Callable[[], Any], name: str) -> bool:
    """Whether the reader refuses in words; what it gives instead has the types it declares."""
    try:
        values = read()
        for value in values if isinstance(values, list) else [values]:
            check_types(value)
    except ContractBroken as error:
        refusal = error
    except Exception as error:
        raise AssertionError(name) from error
    else:
        return False
    assert refusal.item, name
    assert refusal.do, name
    assert not re.search("Error|__init__|argument", refusal.what), name
    return True


@pytest.mark.parametrize("file", ["CURRENT", "spec.json", "releases/000002.json", "RETIRED"])
def test_the_catalog_lists_the_other_spaces(file: str, state: Warehouse, tmp_path: Path) -> None:
    """A folder in its place, too."""
    shutil.copytree(state.root / "things", tmp_path / "warehouse/things")
    shutil.copytree(state.root / "things", tmp_path / "warehouse/a b")
    warehouse = Warehouse.within(tmp_path)
    path = warehouse.root / HOME / file
    for data in NO_DOCUMENTS:
        path.write_bytes(data)
        (entry,) = list_spaces(warehouse.store, [])
        assert file.rpartition("/")[2] in entry["problem"]
    path.unlink()
    path.mkdir()
    (entry,) = list_spaces(warehouse.store, [])
    assert "is a folder" in entry["problem"]


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "things/text/v1/parts/../../x", "a\0"])
def test_no_key_leads_out_of_the_warehouse(key: str, warehouse: Warehouse) -> None:
    store = warehouse.store
    for call in (
        store.read, store.exists, store.delete, store.list, store.folders, store.delete_prefix,
        store.url, lambda key: store.put(key, b"x"), lambda key: store.put_if_absent(key, b"x"),
        lambda key: store.compare_and_swap(key, None, b"x"),
    ):  # fmt: skip
        with pytest.raises(ContractBroken, match="no key of a warehouse"):
            call(key)
