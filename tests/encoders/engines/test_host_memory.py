"""A machine without memory for a batch is told apart from every other failure."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")
pytestmark = pytest.mark.models

from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.host_memory_errors import translated_memory_errors
from commonspace.encoders.engines.openvino_conversion import convert_to_openvino
from commonspace.encoders.engines.openvino_engine import OpenVinoEngine
from commonspace.encoders.engines.torch_engine import TorchEngine


class Outer(torch.nn.Module):
    """Holds the square of its row's length."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch[:, :, None] * batch[:, None, :]).exp().sum(2)


@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_no_memory_for_a_batch_is_a_memory_error(kind: str) -> None:
    example = (np.ones((2, 3), np.float32),)
    engine: Engine = TorchEngine(Outer(), "cpu")
    if kind == "openvino":
        engine = OpenVinoEngine(convert_to_openvino(Outer(), example, "outer"), 2)
    large = (np.ones((1, 8_000_000), np.float32),)  # more than any process may address
    with pytest.raises(MemoryError, match="allocate"):
        list(engine.run([large, large, large]))
    ((row, _),) = engine.run([example])
    np.testing.assert_allclose(row, 3 * np.e, rtol=1e-5)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), translated_memory_errors():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
