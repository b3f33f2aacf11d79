"""sha256 of the files in a model folder that decide a vector.

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

_DECIDING = {".json", ".txt", ".model", ".jinja", ".safetensors"}
_NOT_DECIDING = {
    "config_sentence_transformers.json",  # its prompts are in the spec, the rest is versions
    "data_config.json",
    "LICENSE.txt",
    "requirements.txt",
    "model.safetensors.index.json",  # its shards are digested
}


def sha256_of(path: Path) -> str:
    """The sha256 of a file in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(folder: Path, modules: Sequence[ModuleEntry]) -> dict[str, str]:
    """sha256 (hex) of the deciding files in `folder` and its modules, by their path in it."""
    folders = {folder, *(folder / module.path for module in modules)}
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for directory in sorted(folders)
        if directory.is_dir()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.suffix in _DECIDING and path.name not in _NOT_DECIDING
    }


def pop_weights_digest(network: Path, folder: Path, digests: dict[str, str]) -> str:
    """The digest of the network's weights, which are taken out of `digests`.

    Args:
        network: the folder of the network, inside `folder` or that folder itself.
        folder: the model's folder; every weights file in `digests` is checked to be complete.
        digests: as `digest_files` returned them.

    Raises:
        WeightsRefused: there are no weights, only pickled ones, or a file is cut off or missing.
    """
    index = network / "model.safetensors.index.json"
    if (network / "model.safetensors").exists():
        shards = ["model.safetensors"]
    elif index.exists():
        shards = sorted(set(read_json_object(index).get("weight_map", {}).values()))
    else:
        shards = []
    if not shards:
        pickled = sorted(path.name for path in network.glob("*.bin"))
        kind = f"only pickled weights ({', '.join(pickled)})" if pickled else "no weights"
        raise WeightsRefused(
            f"the model folder has {kind}",
            item=str(network),
            do="Provide model.safetensors: a pickle can run code when it is opened. "
            "Loading and saving the model once with safe_serialization=True writes one.",
        )
    for name in digests:
        if name.endswith(".safetensors"):
            require_complete(folder / name)
    prefix = network.relative_to(folder)
    missing = [name for name in shards if (prefix / name).as_posix() not in digests]
    if missing:
        raise WeightsRefused(
            f"shards are missing: {', '.join(missing)}",
            item=str(network),
            do="Copy or download the folder again, as a whole.",
        )
    shard_digests = [digests.pop((prefix / name).as_posix()) for name in shards]
    if len(shard_digests) == 1:
        return f"sha256:{shard_digests[0]}"
    return f"sha256:{hashlib.sha256(' '.join(shard_digests).encode()).hexdigest()}"
