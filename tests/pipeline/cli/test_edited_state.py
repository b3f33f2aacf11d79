"""Whatever JSON of a warehouse somebody has edited, every verb answers or refuses in words."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from commonspace.pipeline.release.markers.pins import pin_release
from tests.support.command_line import CommandLine
from tests.support.edited_json import edits
from tests.support.warehouse import NAME, SPACE, Warehouse, numbered_items

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

EDITS = 60
VERBS: Sequence[Sequence[str]] = [
    ("show",), ("get", SPACE, "i0001"), ("files", SPACE), ("rejects", SPACE), ("releases", SPACE),
    ("search", SPACE, "--id", "i0001"), ("search", SPACE, "text"),
    ("changes", SPACE, "--since", "1"), ("verify", SPACE), ("plan", "things"),
    ("run", "things"), ("retain", SPACE, "--keep", "1"),
    ("pin", SPACE, "1"), ("rollback", SPACE), ("promote", SPACE), ("verify", SPACE, "--repair"),
    ("retire", SPACE), ("show",),
]  # fmt: skip


def test_every_verb_over_edited_files(
    warehouse: Warehouse, command: CommandLine, tmp_path: Path
) -> None:
    limits = {"gates": {"max_reject_share": 1.0}, "source": {"metadata": {"n": "int64"}}}
    for count in (3, 4, 5):
        items = [*numbered_items(count, n=1), {"id": "e", "text": " "}]
        warehouse.run_without_error(items, **limits)
    pin_release(warehouse.store, NAME, 1, "a reason")
    warehouse.store.put(f"{NAME}/PROMOTING", b'{"release": 3, "by": "promote"}')
    warehouse.store.put(f"{NAME}/CONDEMNED", b'{"releases": [9], "files": []}')
    whole = tmp_path / "whole"
    shutil.copytree(warehouse.root, whole)
    chosen = random.Random(1).sample(
        [
            (path.relative_to(whole), name, data)
            for path in sorted(whole.glob("things/text/v1/**/*"))
            if path.is_file() and path.suffix != ".parquet" and not path.name.startswith(".")
            for name, data in edits(path.read_bytes())
        ],
        EDITS,
    )
    for file, name, data in chosen:
        shutil.rmtree(warehouse.root)
        shutil.copytree(whole, warehouse.root)
        (warehouse.root / file).write_bytes(data)
        for verb in VERBS:
            try:
                answer = command(*verb)
            except Exception as error:
                raise AssertionError(f"{file}: {name}: {verb}") from error
            assert answer.returncode in {0, 1, 2}, (file, name, verb)
            assert "Traceback" not in answer.stderr, (file, name, verb)
    assert not [path for path in tmp_path.iterdir() if path.name == "x"]
