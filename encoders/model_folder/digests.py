"""Which files of a model folder decide a vector, and what they are: names and sha256.

Nothing is executed and no tensor is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.model_folder.json_files import read_json_object
from commonspace.encoders.model_folder.module_list import ModuleEntry
from commonspace.encoders.model_folder.safetensors import require_complete


def sha256_of(path: Path) -> str:
    """Lower-case hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_DECIDING = {".json", ".txt", ".model", ".jinja", ".safetensors"}
_NOT_DECIDING = {
    "config_sentence_transformers.json",  # its prompts are in the spec, the rest is versions
    "data_config.json",
    "LICENSE.txt",
    "requirements.txt",
    "model.safetensors.index.json",  # its shards are digested
}


def digest_files(folder: Path, modules: Sequence[ModuleEntry]) -> dict[str, str]:
    """sha256 (hex) by name below `folder`, of its own files and those of its modules."""
    places = {folder, *(folder / module.path for module in modules)}
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for place in sorted(places)
        if place.is_dir()
        for path in sorted(place.iterdir())
        if path.is_file() and path.suffix in _DECIDING and path.name not in _NOT_DECIDING
    }


def pop_weights_digest(place: Path, folder: Path, digests: dict[str, str]) -> str:
    """Check every weights file; take those in `place` out of `digests` and name them.

    Raises:
        WeightsRefused: there are none, only pickled ones, or one is cut off or missing.
    """
    index = place / "model.safetensors.index.json"
    if (place / "model.safetensors").exists():
        shards = ["model.safetensors"]
    elif index.exists():
        shards = sorted(set(read_json_object(index).get("weight_map", {}).values()))
    else:
        shards = []
    if not shards:
        pickled = sorted(path.name for path in place.glob("*.bin"))
        kind = f"only pickled weights ({', '.join(pickled)})" if pickled else "no weights"
        raise WeightsRefused(
            kind,
            item=str(place),
            do="Provide model.safetensors: a pickle can run code when it is opened. "
            "Loading and saving the model once with safe_serialization=True writes one.",
        )
    for name in digests:
        if name.endswith(".safetensors"):
            require_complete(folder / name)
    prefix = place.relative_to(folder)
    missing = [name for name in shards if (prefix / name).as_posix() not in digests]
    if missing:
        raise WeightsRefused(f"shards are missing: {', '.join(missing)}", item=str(place))
    parts = [digests.pop((prefix / name).as_posix()) for name in shards]
    if len(parts) == 1:
        return f"sha256:{parts[0]}"
    return f"sha256:{hashlib.sha256(' '.join(parts).encode()).hexdigest()}"
