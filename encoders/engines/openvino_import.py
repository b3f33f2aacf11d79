"""Imports OpenVINO without its telemetry, which reports to a server from a child process."""

from __future__ import annotations

import sys

if "openvino" not in sys.modules:
    # OpenVINO and NNCF then fall back to the stub that they have for lack of this package.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino

__all__ = ["openvino"]
