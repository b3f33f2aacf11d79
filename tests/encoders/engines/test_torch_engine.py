"""PyTorch on a CPU: a row keeps its bits wherever it lies, and batches keep their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.models

from commonspace.encoders.engines.engine import Arrays
from commonspace.encoders.engines.torch_engine import TorchEngine


@pytest.mark.parametrize(("inner", "outer"), [(64, 32), (384, 1536), (1536, 384)])
@pytest.mark.parametrize("rows", [3, 6, 32])
def test_a_row_has_the_same_bits_wherever_it_lies(inner: int, outer: int, rows: int) -> None:
    torch.manual_seed(0)
    engine = TorchEngine(torch.nn.Linear(inner, outer, bias=False), "cpu")
    batch = np.random.default_rng(0).standard_normal((rows, inner)).astype(np.float32)
    (whole,) = engine.run([(batch,)])
    turned = [np.roll(batch, place, axis=0) for place in range(rows)]
    for place, found in enumerate(engine.run((each,) for each in turned)):
        np.testing.assert_array_equal(found, np.roll(whole, place, axis=0))


class Asks(torch.nn.Module):
    """How many threads compute for it, once two of it compute at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._both = threading.Barrier(2, timeout=60)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        self._both.wait()
        return torch.tensor([[float(torch.get_num_threads())]])


def test_batches_compute_side_by_side_each_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONSPACE_THREADS", "2")
    before = torch.get_num_threads()
    batches = [(np.zeros((1, 1), np.float32),)] * 4
    assert [found.item() for found in TorchEngine(Asks(), "cpu").run(batches)] == [1, 1, 1, 1]
    assert torch.get_num_threads() == before


def test_batches_come_in_order_and_few_are_taken_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONSPACE_THREADS", "3")
    taken = []

    def batches() -> Iterator[Arrays]:
        for number in range(50):
            taken.append(number)
            yield (np.full((1 + number % 4, 1), number, dtype=np.float32),)

    engine = TorchEngine(torch.nn.Identity(), "cpu")
    for number, found in enumerate(engine.run(batches())):
        assert found.shape == (1 + number % 4, 1)
        assert (found == number).all()
        assert len(taken) - number <= 4


def test_an_error_is_raised_for_its_batch_after_those_before_it() -> None:
    engine = TorchEngine(torch.nn.Linear(4, 2), "cpu")
    right, wrong = np.zeros((1, 4), np.float32), np.zeros((1, 5), np.float32)
    results = engine.run([(right,), (wrong,), (right,)])
    assert next(results).shape == (1, 2)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        next(results)
