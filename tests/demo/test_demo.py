"""The demo as a newcomer runs it: three times, the last after one item has changed.

COMMONSPACE_DEMO names the folder of a demo that has run once, for two more there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = [pytest.mark.demo, pytest.mark.timeout(1800)]


def demo(folder: Path) -> dict[str, dict[str, Any]]:
    """The newest ledger of each space, after one more demo that says what it should."""
    command = [sys.executable, "-m", "commonspace", "demo", "--folder", str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-2000:]
    found = ledgers(folder)
    assert "UNTRAINED" not in answer.stdout
    assert "wasserstein" in answer.stdout, "a search by meaning finds what it should"
    neighbours = re.findall(r"^ *0\.\d+ +(\w+)/\S+\.jpg", answer.stdout, re.MULTILINE)
    assert neighbours == ["coffee"] * 3
    with Image.open(folder / "neighbours.png") as picture:
        assert (picture.format, picture.width > picture.height) == ("PNG", True)
    return found


def ledgers(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted((folder / "warehouse/.runs").glob("*/*/*/report.json")):
        report = json.loads(path.read_text())
        found[f"{report['collection']}/{report['space']}"] = report["ledger"]
    return found


def test_first_second_and_changed(tmp_path: Path) -> None:
    ran = os.environ.get("COMMONSPACE_DEMO")
    folder = Path(ran) if ran else tmp_path
    first = ledgers(folder) if ran else demo(folder)
    texts = folder / "samples/docs.jsonl"
    assert first["docs/text"]["offered"] == len(texts.read_text().splitlines()) >= 3000
    assert first["docs/text"]["encoded"] > 2800
    assert len(first) == 2
    photos = next(name for name in first if name.startswith("photos/"))
    assert first[photos]["encoded"] == first[photos]["offered"] > 150

    second = demo(folder)
    assert {name: ledger["encoded"] for name, ledger in second.items()} == dict.fromkeys(first, 0)
    assert all(ledger["kept"] == ledger["offered"] for ledger in second.values())

    lines = texts.read_text().splitlines()
    changed = {**json.loads(lines[0]), "text": "Something that nobody has written before."}
    texts.write_text("\n".join([json.dumps(changed), *lines[1:]]))
    third = demo(folder)
    assert third["docs/text"]["encoded"] == 1
    assert third[photos]["encoded"] == 0
