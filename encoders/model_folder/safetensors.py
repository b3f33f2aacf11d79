"""Is a safetensors file whole? Answered from its header, without torch.

Layout: 8 bytes little-endian header length, JSON header, tensors; see
https://huggingface.co/docs/safetensors (format).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import WeightsRefused

LONGEST_HEADER = 100_000_000
"""The limit of the safetensors library itself."""


def require_complete(path: Path) -> frozenset[str]:
    """The names of the tensors in `path`, once its length is what its header promises.

    Raises:
        WeightsRefused: cut off, followed by other bytes, or not a safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > LONGEST_HEADER:
            raise _refused(path, "not a safetensors file")
        if 8 + length > size:
            raise _refused(path, "cut off within its header")
        header = file.read(length)
    ends = _tensor_ends(path, header)
    expected = 8 + length + max(ends.values(), default=0)
    if size < expected:
        raise _refused(path, f"cut off: {size:,} of {expected:,} bytes")
    if size > expected:
        raise _refused(path, f"{size - expected:,} bytes follow the last tensor")
    return frozenset(ends)


def _tensor_ends(path: Path, header: bytes) -> dict[str, int]:
    try:
        tensors: dict[str, Any] = json.loads(header)
        return {
            name: int(tensor["data_offsets"][1])
            for name, tensor in tensors.items()
            if name != "__metadata__"
        }
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError,
            RecursionError) as error:  # fmt: skip
        raise _refused(path, "not a safetensors file: its header cannot be read") from error


def _refused(path: Path, what: str) -> WeightsRefused:
    return WeightsRefused(what, item=path.name, do="Copy or download the file anew.")
