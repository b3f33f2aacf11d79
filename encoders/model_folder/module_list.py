"""The list of modules (`modules.json`) that a sentence-transformers model is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.model_folder.json_files import read_json

_HEADS = ("Transformer", "CLIPModel")
_SUPPORTED = (*_HEADS, "Pooling", "Dense", "LayerNorm", "Normalize")
_WITH_WEIGHTS = ("Dense", "LayerNorm")


@dataclass(frozen=True)
class ModuleEntry:
    """One module: its class without the package, and its folder inside the model's folder."""

    kind: str
    path: str


def read_modules(folder: Path) -> list[ModuleEntry]:
    """The modules in order, a Transformer or a CLIPModel first.

    Raises:
        EncoderNotFound: there is no `modules.json`.
        WeightsRefused: a class is not of sentence-transformers or not supported, a module's folder
            lies outside the model's, or weights are pickled.
    """
    path = folder / "modules.json"
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise WeightsRefused("the file is not a list of modules", item=str(path))
    modules = [_entry(entry, path) for entry in entries]
    kinds = [module.kind for module in modules]
    if kinds[0] not in _HEADS or any(kind in _HEADS for kind in kinds[1:]):
        raise WeightsRefused(
            f"its modules are {', '.join(kinds)}, of which only the first one may be, and must be, "
            f"a {' or '.join(_HEADS)}",
            item=str(path),
        )
    for module in modules:
        if module.kind in _WITH_WEIGHTS:
            _require_safetensors(folder / module.path)
    return modules


def _entry(entry: Any, path: Path) -> ModuleEntry:
    try:
        name, folder = str(entry["type"]), PurePosixPath(entry["path"])
    except (KeyError, TypeError) as error:
        raise WeightsRefused("a module has no type or no path", item=str(path)) from error
    package, _, _ = name.partition(".")
    kind = name.rpartition(".")[2]
    if package != "sentence_transformers":
        raise WeightsRefused(
            f"it names the class {name}, which is not part of sentence-transformers",
            item=str(path),
            do="Use a model whose modules are all sentence-transformers' own.",
        )
    if kind not in _SUPPORTED:
        raise WeightsRefused(
            f"module {kind} is not supported",
            item=str(path),
            do=f"Use a model made of {', '.join(_SUPPORTED)}.",
        )
    if folder.is_absolute() or ".." in folder.parts:
        raise WeightsRefused(f"module folder {folder} lies outside the model", item=str(path))
    return ModuleEntry(kind, str(folder))


def _require_safetensors(folder: Path) -> None:
    if not (folder / "model.safetensors").exists():
        raise WeightsRefused(
            "the module's folder has no model.safetensors",
            item=str(folder),
            do="Load and save the model once with safe_serialization=True: pickled weights are "
            "never opened.",
        )
