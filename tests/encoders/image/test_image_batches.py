"""Devices that are full, and half precision that overflows: both without a GPU."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.errors import DeviceOutOfMemory, EncoderError
from commonspace.encoders.image.batches import ImageBatches
from commonspace.encoders.protocol import Content, Encoder

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.image.encoder import ImageEncoder


class Means:
    """(n, ...) to (n, 1), two batches ahead of the consumer, with memory for so many rows."""

    name = "means"

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.sizes: list[int] = []

    def run(self, batches: Iterable[Arrays]) -> Iterator[np.ndarray]:
        running: list[np.ndarray] = []
        for (batch,) in batches:
            self.sizes.append(len(batch))
            if len(batch) > self.rows:
                raise DeviceOutOfMemory
            running.append(batch.reshape(len(batch), -1).mean(axis=1, keepdims=True))
            if len(running) > 2:
                yield running.pop(0)
        yield from running


def images(number: int) -> list[np.ndarray]:
    return [np.full((2, 2), float(i)) for i in range(number)]


@pytest.mark.parametrize("memory", [1, 3, 7, 8, 100])
@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 40])
def test_a_full_device_loses_nothing_and_keeps_the_order(memory: int, number: int) -> None:
    batches = ImageBatches(Means(memory), 8)
    rows = [(batch, vectors) for batch, vectors in batches.run(iter(images(number)))]
    assert all(len(batch) == len(vectors) for batch, vectors in rows)
    found = [float(v) for _, vectors in rows for v in vectors[:, 0]]
    assert found == [float(i) for i in range(number)]


def test_the_smaller_batch_is_remembered() -> None:
    engine = Means(2)
    batches = ImageBatches(engine, 8)
    list(batches.run(images(16)))
    assert batches.rows == 2
    engine.sizes.clear()
    list(batches.run(images(16)))
    assert set(engine.sizes) == {2}


def test_no_memory_for_one_image_is_said_in_words() -> None:
    with pytest.raises(EncoderError, match="no device memory for one image") as caught:
        list(ImageBatches(Means(0), 8).run(images(3)))
    assert caught.value.retry


class Hungry(torch.nn.Module):
    """A network that CUDA has no memory for beyond so many rows."""

    def __init__(self, network: torch.nn.Module, rows: int) -> None:
        super().__init__()
        self.network, self.rows = network, rows

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        if len(crops) > self.rows:
            raise torch.cuda.OutOfMemoryError
        found: torch.Tensor = self.network(crops)
        return found


@pytest.fixture(scope="module")
def graph(loaded: Callable[[str], Encoder]) -> torch.nn.Module:
    from commonspace.encoders.torchvision.encoder import load_embedding_network

    return load_embedding_network(loaded("resnet18 untrained").spec, None)


def test_cudas_full_device_halves_the_batch(
    loaded: Callable[[str], Encoder], graph: torch.nn.Module, contents: dict[str, list[Content]]
) -> None:
    spec = loaded("resnet18 untrained").spec
    items = contents["image"][:9]
    expected = ImageEncoder(spec, TorchEngine(graph, "cpu"), "cpu").encode(items).vectors
    encoder = ImageEncoder(spec, TorchEngine(Hungry(graph, 3), "cpu"), "cuda")
    found = encoder.encode(items).vectors
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rows_that_overflow_in_half_precision_are_computed_in_full(
    loaded: Callable[[str], Encoder], graph: torch.nn.Module
) -> None:
    spec = loaded("resnet18 untrained").spec

    def flat(colour: tuple[int, int, int]) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (224, 224), colour).save(file, "PNG")
        return file.getvalue()

    # The first is the preset's mean, whose activations are small.
    files: list[Content] = [flat((124, 116, 104)), flat((255, 255, 255)), flat((125, 116, 104))]
    steep = _steeper(graph)
    exact: Engine = TorchEngine(steep, "cpu")
    half = ImageEncoder(spec, TorchEngine(steep, "cpu", "fp16"), "cpu").encode(files)
    assert set(half.failures) == {1}
    both = ImageEncoder(spec, TorchEngine(steep, "cpu", "fp16"), "cpu", exact=exact).encode(files)
    assert [facts["image_rules"] for facts in both.facts] == ["", "fp32-fallback", ""]
    expected = ImageEncoder(spec, exact, "cpu").encode(files).vectors
    np.testing.assert_array_equal(both.vectors[1], expected[1])
    np.testing.assert_array_equal(both.vectors[[0, 2]], half.vectors)


def _steeper(graph: torch.nn.Module) -> torch.nn.Module:
    """The same network with a first layer that leaves fp16's range on a white image."""
    import copy

    steep = copy.deepcopy(graph)
    with torch.no_grad():
        steep.network.conv1.weight.mul_(3e4)  # type: ignore[union-attr, operator]
    return steep
