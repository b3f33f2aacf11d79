"""Retention over every space, each as its collection file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commonspace.pipeline.contract.layout import release_key, retirement_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import NotPublished
from commonspace.pipeline.maintenance.retain_all import retain_all
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.release.markers.retirement import retire_space
from tests.support.command_line import CommandLine
from tests.support.retained import damage_manifest
from tests.support.warehouse import NAME, Warehouse, numbered_items


def test_every_space_as_its_file_says(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    other = warehouse.collection(numbered_items(1), name="others")
    warehouse.run(other)
    collection = warehouse.collection(numbered_items(3))
    file = Path(collection.path)
    file.write_text(file.read_text().replace("[collection]", "[collection]\nkeep_releases = 2"))
    from commonspace.pipeline.config.files import load_collection

    answers = retain_all(warehouse.store, [load_collection(file), other], dry_run=True)
    assert [(a["space"], a["removed"]) for a in answers] == [
        ("others/text/v1", []), ("things/text/v1", [1]),
    ]  # fmt: skip
    assert release_numbers(warehouse.store, NAME) == [1, 2, 3]
    with pytest.raises(NotPublished, match="did you mean"):
        retain_all(warehouse.store, [], "thing")
    (answer,) = retain_all(warehouse.store, [], "things", keep=1)
    assert answer["removed"] == [1, 2]


def test_a_space_whose_owner_is_not_heard_is_left_out(
    warehouse: Warehouse, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.publish_releases(2)
    warehouse.run(numbered_items(1), name="others")
    folder = warehouse.root.parent
    (folder / "things.toml").write_text("[collection]\nkeep_releases = 500\noops")
    code, out, err = command("retain", "--json")
    assert code == 0
    assert [(one["space"], one["removed"], bool(one["left_out"])) for one in json.loads(out)] == [
        ("others/text/v1", [], False), ("things/text/v1", [], True),
    ]  # fmt: skip
    assert "things/text/v1 is left out: no collection file" in err
    assert "left out" in command("retain")[1]
    code, _, err = command("retain", "things/text")
    assert (code, "--keep" in err) == (2, True)
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(folder / "nowhere"))
    assert command("retain")[0] == 0
    assert release_numbers(warehouse.store, NAME) == [1, 2]
    assert retain_all(warehouse.store, [], keep=1)[1]["removed"] == [1]


def test_a_space_that_fails_does_not_stop_the_others(
    warehouse: Warehouse, command: CommandLine
) -> None:
    for count in (1, 2):
        for name in ("others", "quiet", "things"):
            warehouse.run(numbered_items(count), name=name)
    others, quiet = (SpaceName(name, "text", 1) for name in ("others", "quiet"))
    damage_manifest(warehouse, others, 1)
    retire_space(warehouse.store, quiet)
    warehouse.store.put(retirement_key(quiet), b"[]")
    code, out, err = command("retain", "--keep", "1", "--retired", "--json")
    assert code == 1
    first, second, last = json.loads(out)
    assert (first["error"], first["item"]) == ("ContractBroken", release_key(others, 1))
    assert "delete it if its release is neither served nor needed" in first["do"]
    assert (second["error"], second["removed"]) == ("ContractBroken", [])
    assert last["removed"] == [1]
    assert "others/text/v1 failed: others/text/v1/releases/000001.json: is damaged" in err
    assert "failed" in command("retain", "--keep", "1")[1]
    assert release_numbers(warehouse.store, others) == [1, 2]
    warehouse.store.delete(release_key(others, 1))  # as advised
    assert "error" not in retain_all(warehouse.store, [], "others", keep=1)[0]
    assert warehouse.verify("others/text")["ok"]
