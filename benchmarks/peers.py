"""Other libraries, each in an environment of its own, made once under `.peers/`.

Their versions are in `pins/`. A peer that cannot be installed or started is left out, aloud.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contenders as own
import peer_functions
from contender import HERE, Contender

ENVIRONMENTS = HERE / ".peers"


class NotInstalled(Exception):
    """A peer's environment could not be made."""


@dataclass(frozen=True)
class Peer:
    """own_model: it needs the model in a form that `peer_models` makes. every: see Contender."""

    function: Any
    own_model: bool = False
    every: int = 1


PEERS = {
    "text": {
        "daft": Peer(peer_functions.daft_text),
        "fastembed": Peer(peer_functions.fastembed, own_model=True, every=4),
        "infinity": Peer(peer_functions.infinity),
        "model2vec": Peer(peer_functions.model2vec, own_model=True),
    },
    "image": {"daft": Peer(peer_functions.daft_image)},
}


def contenders(modality: str, names: Sequence[str], weights: str | None = None) -> list[Contender]:
    """The named peers, installed; exits, naming the known ones, if a name is unknown.

    weights: of the ResNet-50, as for our own; images only.
    """
    known = PEERS[modality]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SystemExit(
            f"no peer for {modality} is called {', '.join(unknown)}; known: {', '.join(known)}"
        )
    contenders = []
    for name in dict.fromkeys(names):
        try:
            contenders.append(_contender(name, known[name], modality, weights))
        except NotInstalled as error:
            sys.stderr.write(f"NOT MEASURED: {error}\n")
    return contenders


def _contender(name: str, peer: Peer, modality: str, weights: str | None) -> Contender:
    model = _text_model() if modality == "text" else None
    folder = _installed(name, _text_model() if peer.own_model else None)
    argument = (
        weights if modality == "image" else str(folder / "model" if peer.own_model else model)
    )
    return Contender(
        _label(name), peer.function, (argument,), peer.every, _python(folder), optional=True
    )


def _text_model() -> Path:
    from commonspace.encoders.model_folder.location import find_model_folder
    from commonspace.encoders.reference import EncoderReference

    return find_model_folder(EncoderReference(own.TEXT_MODEL, "text"))


def _installed(name: str, model: Path | None) -> Path:
    """The peer's environment; made again if its pins have changed or it was left unfinished.

    Raises:
        NotInstalled: uv is missing, or a step failed; its last line is quoted.
    """
    pins, folder = HERE / "pins" / f"{name}.txt", ENVIRONMENTS / name
    installed_pins, wanted_pins = folder / "pins.txt", pins.read_text()
    if installed_pins.exists() and installed_pins.read_text() == wanted_pins:
        return folder
    sys.stderr.write(f"installing {name}, once\n")
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    uv = shutil.which("uv", path=beside)
    if uv is None:
        raise NotInstalled(f"{name} cannot be installed: uv is not installed")
    _step(name, uv, "venv", "--clear", "--python", sys.executable, str(folder))
    _step(name, uv, "pip", "sync", "--python", _python(folder), str(pins))
    if model is not None:
        (folder / "model").mkdir()
        script = str(HERE / "peer_models.py")
        _step(name, _python(folder), script, name, str(model), str(folder / "model"))
    installed_pins.write_text(wanted_pins)
    return folder


def _step(name: str, *command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
        raise NotInstalled(f"{name} cannot be installed: {lines[-1] if lines else command}")


def _python(folder: Path) -> str:
    return str(folder / "bin" / "python")


def _label(name: str) -> str:
    """With the version from the pins, which name infinity's package `infinity-emb`."""
    lines = (HERE / "pins" / f"{name}.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith(name)).replace("==", " ")
