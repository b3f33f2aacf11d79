"""Whether a safetensors file is complete, by its header and without torch.

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
    """The names of the tensors in `path`, whose length is checked against its header.

    Raises:
        WeightsRefused: the file is cut off, has bytes behind its tensors, or is of another format.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > LONGEST_HEADER:
            raise _refused(path, "the file is not a safetensors file")
        if 8 + length > size:
            raise _refused(path, "the file is cut off within its header")
        header = file.read(length)
    ends = _tensor_ends(path, header)
    expected = 8 + length + max(ends.values(), default=0)
    if size < expected:
        raise _refused(path, f"the file is cut off: it has {size:,} of {expected:,} bytes")
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
        message = "the file is not a safetensors file: its header cannot be read"
        raise _refused(path, message) from error


def _refused(path: Path, what: str) -> WeightsRefused:
    return WeightsRefused(what, item=path.name, do="Copy or download the file again.")
