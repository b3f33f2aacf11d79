"""OpenVINO without its reports: imported as it is, it tells a server so, from a forked child."""

from __future__ import annotations

import sys

if "openvino" not in sys.modules:
    # OpenVINO and NNCF then take the stub that they bring for installations without telemetry.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino

__all__ = ["openvino"]
