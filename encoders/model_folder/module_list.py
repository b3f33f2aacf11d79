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
    """One module: its class without the package, and its folder inside the model's."""

    kind: str
    path: str


def read_modules(folder: Path) -> list[ModuleEntry]:
    """The modules in order, a Transformer or a CLIPModel first.

    Raises:
        EncoderNotFound: no `modules.json`.
        WeightsRefused: a class from outside sentence-transformers, one that is not supported,
            a folder outside the model's, or pickled weights.
    """
    path = folder / "modules.json"
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise WeightsRefused("not a list of modules", item=str(path))
    modules = [_entry(entry, path) for entry in entries]
    kinds = [module.kind for module in modules]
    if kinds[0] not in _HEADS or any(kind in _HEADS for kind in kinds[1:]):
        raise WeightsRefused(f"expected one Transformer, at the head of {kinds}", item=str(path))
    for module in modules:
        if module.kind in _WITH_WEIGHTS:
            _require_safetensors(folder / module.path)
    return modules


def _entry(entry: Any, path: Path) -> ModuleEntry:
    try:
        name, place = str(entry["type"]), PurePosixPath(entry["path"])
    except (KeyError, TypeError) as error:
        raise WeightsRefused("a module without type or path", item=str(path)) from error
    package, _, _ = name.partition(".")
    kind = name.rpartition(".")[2]
    if package != "sentence_transformers":
        raise WeightsRefused(
            f"names the class {name}, which is code of the model's own",
            item=str(path),
            do="Use a model made of sentence-transformers' own modules.",
        )
    if kind not in _SUPPORTED:
        raise WeightsRefused(
            f"module {kind} is not supported", item=str(path), do=f"Supported: {_SUPPORTED}."
        )
    if place.is_absolute() or ".." in place.parts:
        raise WeightsRefused(f"module folder {place} lies outside the model", item=str(path))
    return ModuleEntry(kind, str(place))


def _require_safetensors(folder: Path) -> None:
    if not (folder / "model.safetensors").exists():
        raise WeightsRefused(
            "no model.safetensors",
            item=str(folder),
            do="Save the model once with safe_serialization=True; pickles are never opened.",
        )
