"""OpenVINO or torch: which one computes, and what is said where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from commonspace.encoders.engines.selection import choose_engine
from commonspace.encoders.errors import EncoderError


def test_an_engine_is_chosen_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMONSPACE_ENGINE", raising=False)
    assert (choose_engine("cpu"), choose_engine("cuda:1")) == ("openvino", "torch")
    monkeypatch.setenv("COMMONSPACE_ENGINE", "torch")
    assert choose_engine("cpu") == "torch"
    for device, wrong in (("cpu", "tensorrt"), ("cuda", "openvino")):
        monkeypatch.setenv("COMMONSPACE_ENGINE", wrong)
        with pytest.raises(EncoderError, match="COMMONSPACE_ENGINE"):
            choose_engine(device)


def test_openvino_that_is_missing_is_said_once() -> None:
    script = (
        "import importlib.util; found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n: None if n.startswith('openvino') else found(n)\n"
        "from commonspace.encoders.engines.selection import choose_engine\n"
        "print(choose_engine('cpu'), choose_engine('cpu'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "COMMONSPACE_ENGINE"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["torch", "torch"]
    assert done.stderr.count("openvino is not installed") == 1
    wanted = environment | {"COMMONSPACE_ENGINE": "openvino"}
    done = subprocess.run(command, capture_output=True, text=True, env=wanted)
    assert "which is not installed" in done.stderr
