"""Whether the folder of a model is one of CLIP; needs no image library, for most are of texts."""

from __future__ import annotations

from pathlib import Path

from commonspace.encoders.model_folder.json_files import read_json_object
from commonspace.encoders.model_folder.module_list import read_modules


def is_clip_folder(folder: Path) -> bool:
    """Whether the folder's first module, or the folder itself, is a CLIP model by its own account.

    Raises:
        EncoderNotFound: a file is missing.
        WeightsRefused: its files are no JSON, or its modules are unsafe or not supported.
    """
    if not (folder / "modules.json").exists():
        return model_type(folder) == "clip"
    head = read_modules(folder)[0]
    return head.kind == "CLIPModel" or model_type(folder / head.path) == "clip"


def model_type(folder: Path) -> str:
    """What the folder's configuration calls its model; empty where it has none."""
    path = folder / "config.json"
    return str(read_json_object(path).get("model_type")) if path.exists() else ""
