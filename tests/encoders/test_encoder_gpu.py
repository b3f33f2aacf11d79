"""The CPU's vectors and a GPU's are of one space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from encoders.angles import largest_angle
from encoders.catalog import load
from encoders.protocol import Content, Encoder
from encoders.reference import EncoderReference

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("name", ["minilm", "resnet18 local", "resnet50 local"])
def test_cpu_and_gpu_agree_within_the_specs_tolerance(
    name: str,
    loaded: Callable[[str], Encoder],
    reference: Callable[[str], EncoderReference],
    contents: dict[str, list[Content]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_cpu = loaded(name)
    monkeypatch.setenv("COMMONSPACE_DEVICE", "cuda")
    on_gpu = load(reference(name))
    items = contents[on_cpu.spec.modality]
    assert on_gpu.spec == on_cpu.spec
    left, right = on_cpu.encode(items), on_gpu.encode(items)
    assert left.facts == right.facts
    assert largest_angle(left.vectors, right.vectors) <= on_cpu.spec.tolerance
    alone = on_gpu.encode(items[:1]).vectors[0]
    assert np.abs(alone - right.vectors[0]).max() <= 1e-5
