"""Changes to the files of a model's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[Path], object]
WEIGHTS = "model.safetensors"


def edited(name: str, change: Callable[[Any], object]) -> Change:
    """The JSON file with a change."""

    def act(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return act


def put(name: str, **values: Any) -> Change:
    return edited(name, lambda settings: settings.update(values))


def tensors(change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Change:
    """The weights file with a change."""

    def act(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        held = load_file(folder / name)
        change(held)
        save_file({k: t.contiguous() for k, t in held.items()}, folder / name, {"format": "pt"})

    return act


def every(change: Callable[[Any], Any]) -> Change:
    return tensors(lambda held: held.update({k: change(t) for k, t in held.items()}))


def bit(name: str, at: float = 0.7) -> Change:
    """One bit of the file turned over."""

    def act(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(len(data) * at)] ^= 1
        (folder / name).write_bytes(bytes(data))

    return act


def cut(name: str, keep: float) -> Change:
    def act(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return act


def gone(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    """The weights file under a header that says something else about the same bytes."""

    def act(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(data[:8], "little")
        said = json.loads(data[8 : 8 + length])
        change(said)
        written = json.dumps(said).encode()
        whole = len(written).to_bytes(8, "little") + written + data[8 + length :]
        (folder / WEIGHTS).write_bytes(whole)

    return act


def raw(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)
