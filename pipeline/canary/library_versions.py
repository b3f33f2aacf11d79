"""The versions of the installed packages that a vector may depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "commonspace", "pyarrow", "lancedb", "numpy", "pillow", "tokenizers", "transformers",
    "sentence-transformers", "torch", "torchvision", "timm",
    "openvino",
)  # fmt: skip


def installed_versions() -> dict[str, str]:
    """Version by package; `machine` (the architecture) and `python` are among them.

    Read once: a process computes with what it has imported, whatever is installed later.
    """
    return dict(_installed())


@cache
def _installed() -> Mapping[str, str]:
    versions = {"machine": platform.machine(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
