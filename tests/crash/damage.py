"""Damage to one file of a warehouse: who notices, and what can be mended."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.crash import subject
from tests.crash.forks import in_child

START = "history"
STATE = "two"
"""What `START` serves: after five releases, so that its LanceDB table has some versions."""


def files(place: str) -> dict[str, list[str]]:
    """The files that the served release consists of, by kind, below the warehouse."""
    warehouse = Path(place, START, "warehouse")
    space = subject.opened(warehouse.parent)
    table = warehouse / "lancedb/things__text__v1.lance"
    home = warehouse / "things/text/v1"
    found = {
        "part": [Path(file) for file in space.files()],
        "manifest": [home / f"releases/{space.release.number:06}.json", home / "spec.json"],
        "rejects": [warehouse / space.release.rejects["key"], home / "canary.parquet"],
        "pointer": [home / "CURRENT"],
        "lance": [path for path in table.rglob("*") if path.is_file() and _matters(place, path)],
    }
    return {
        kind: sorted(str(p.relative_to(warehouse)) for p in paths) for kind, paths in found.items()
    }


def _matters(place: str, file: Path) -> bool:
    """Whether the served version of the table rests on the file: others do so no more."""
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        start = Path(place, START)
        shutil.copytree(start, Path(scratch, "copy"))
        Path(scratch, "copy", file.relative_to(start)).unlink()
        return in_child(subject.verify, Path(scratch, "copy")) != {"answer": []}


def play(place: str, kind: str, file: str, how: str, seed: int) -> dict[str, Any]:
    """Damage the file in a copy; who has noticed, and what came of `verify --repair`.

    how: `flip` one bit, `cut` the file anywhere, `zero` a stretch of it, `delete` it.
    """
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        folder = Path(scratch, "copy")
        shutil.copytree(Path(place, START), folder)
        spot = _damage(folder / "warehouse" / file, how, random.Random(seed))
        about = {"case": f"{kind} {file} {how} {spot}", "kind": kind, "how": how}
        answers = {
            "verify": in_child(subject.verify, folder),
            "parquet": in_child(_state, folder, place, False),
            "lance": in_child(_state, folder, place, True),
            "repair": in_child(_repaired, folder, place),
            "next": in_child(_next, folder, place),
        }
        return about | answers


def _damage(path: Path, how: str, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
        return ""
    spot = chance.randrange(len(data))
    if how == "flip":
        bit = chance.randrange(8)
        data[spot] ^= 1 << bit
        path.write_bytes(data)
        return f"bit {bit} of byte {spot} of {len(data)}"
    if how == "cut":
        path.write_bytes(data[:spot])
        return f"to {spot} bytes of {len(data)}"
    end = min(spot + 64, len(data))
    if not any(data[spot:end]):
        data[spot:end] = b"\xff" * (end - spot)
    else:
        data[spot:end] = bytes(end - spot)
    path.write_bytes(data)
    return f"bytes {spot} to {end} of {len(data)}"


def _state(folder: Path, place: str, table: bool) -> str:
    """`right` where a reader is given what was published, `refused` where it finds no release."""
    try:
        state = subject.seen(folder, {STATE: Path(place, f"{STATE}.arrow")}, table=table)
    except AssertionError as error:
        return f"wrong: {error}"
    return {STATE: "right", "nothing": "refused"}.get(state, f"wrong: {state}")


def _repaired(folder: Path, place: str) -> str:
    """`whole` where all is as it was; what is still wrong otherwise."""
    reported = subject.repair(folder)
    if reported["problems"]:
        return f"reported: {reported['problems'][0]}"
    return "whole" if _state(folder, place, True) == "right" else "wrong after the repair"


def _next(folder: Path, place: str) -> str:
    """Whether a run that changes the release is right, or refuses and says so."""
    subject.write_source(folder, 3)
    answer = subject.run(folder)
    if "error" in answer:
        return "refused"
    problems = subject.verify(folder)
    state = subject.seen(folder, {"three": Path(place, "three.arrow")}) if not problems else ""
    return "right" if state == "three" else f"wrong: {problems or state}"
