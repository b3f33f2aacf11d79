"""pipeline/contract/layout.py"""

from __future__ import annotations

from commonspace.pipeline.contract.name import SpaceName


def shard_path(name: SpaceName, fingerprint: str, shard: str) -> str:
    """Where a shard of a space lies; every run of the same fingerprint looks there.

    Only what would come out the same again lies there. A shard with failures that may pass
    lies in the folder of the run that met them, and the next run tries them again.
    """
    return f"{_folder(name, fingerprint)}/{shard}.parquet"


def traces_folder(name: SpaceName, fingerprint: str) -> str:
    """Where the traces of those lie that died while they encoded a shard of the space."""
    return f"{_folder(name, fingerprint)}/traces"


def _folder(name: SpaceName, fingerprint: str) -> str:
    space = f"{name.space}-v{name.version}-{fingerprint[:16]}"
    return f".runs/{name.collection}/shards/{space}"
