"""What only timm knows of a network, and a spec needs: kept, as importing timm takes seconds.

    <cache>/timm/<version>/<network>.json

The files may be removed at any time. A file that is wrong is found when the network is loaded.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderError
from commonspace.encoders.model_folder.cache_folder import cache_folder
from commonspace.encoders.timm.image_settings import KEYS

INSTALL_TIMM = 'In a checkout of commonspace: pip install ".[encoders,timm]".'


@dataclass(frozen=True)
class NetworkFacts:
    """What timm says of a network.

    Attributes:
        dim: how many features its classifier takes.
        data_config: how its images are prepared, as timm resolves it.
    """

    dim: int
    data_config: Mapping[str, Any]


def network_facts(network: str) -> NetworkFacts:
    """What timm says of the network; timm is imported where it has not been asked before.

    Raises:
        EncoderNotFound: timm has no such network.
        EncoderError: timm or torch is not installed.
    """
    path = _path(network)
    kept = _read(path) if path else None
    if kept is not None:
        return kept
    from commonspace.encoders.engines.selection import require_torch

    require_torch()
    from commonspace.encoders.timm.network import measure_facts

    facts = measure_facts(network)
    if path is not None:
        _write(path, facts)
    return facts


def forget_facts(network: str) -> None:
    """Remove what is kept of the network, so that timm is asked again."""
    path = _path(network)
    if path is not None:
        path.unlink(missing_ok=True)


def timm_version() -> str:
    """The version of timm that is installed.

    Raises:
        EncoderError: it is not.
    """
    try:
        return version("timm")
    except PackageNotFoundError as error:
        raise EncoderError("timm is not installed", do=INSTALL_TIMM) from error


def _path(network: str) -> Path | None:
    folder = cache_folder()
    return folder / "timm" / timm_version() / f"{network}.json" if folder else None


def _read(path: Path) -> NetworkFacts | None:
    """What the file says; None where there is none, or it is damaged."""
    try:
        kept = json.loads(path.read_bytes())
        config = kept["data_config"]
        return NetworkFacts(int(kept["dim"]), {key: config[key] for key in KEYS})
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _write(path: Path, facts: NetworkFacts) -> None:
    """Keep the facts, or not: a disk that is full costs the next process some seconds."""
    part = path.with_name(f".part-{secrets.token_hex(8)}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(facts)), encoding="utf-8")
        part.replace(path)
