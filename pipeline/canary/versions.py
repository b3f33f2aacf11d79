"""What is installed that a vector may depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "commonspace", "pyarrow", "lancedb", "numpy", "pillow", "tokenizers", "transformers",
    "sentence-transformers", "torch", "torchvision", "openvino",
)  # fmt: skip


def installed_versions() -> dict[str, str]:
    """Package by version, the machine's architecture and Python's version among them.

    Read once: a process computes with what it has imported, whatever is installed later.
    """
    return dict(_installed())


@cache
def _installed() -> Mapping[str, str]:
    found = {"machine": platform.machine(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
