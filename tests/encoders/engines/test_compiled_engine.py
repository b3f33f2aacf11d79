"""A compiled network is the eager one, or is refused; with compilers that need no GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from commonspace.encoders.errors import EncoderError
from commonspace.encoders.image.batches import ImageBatches
from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import largest_angle

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from commonspace.encoders.engines.compiled_engine import CompiledEngine, choose_compile
from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.image.encoder import ImageEncoder

Compiled = Callable[..., Any]
RNG = np.random.default_rng(0)


class Small(torch.nn.Module):
    """(n, 4, 4, 3) uint8 to (n, 8) float32 of unit norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(48, 8)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        features = self.linear(crops.flatten(1).float() / 255 - 0.5)
        return torch.nn.functional.normalize(features, dim=1)


@pytest.fixture(autouse=True)
def _forget() -> None:
    torch.compiler.reset()


@pytest.fixture
def spec() -> EncoderSpec:
    return EncoderSpec(
        kind="torchvision", modality="image", architecture="small", weights="", trained=True, dim=8
    )


def crops(number: int) -> list[np.ndarray]:
    return list(RNG.integers(0, 256, (number, 4, 4, 3), dtype=np.uint8))


def run(engine: Any, images: Sequence[np.ndarray], rows: int, *, fill: bool = True) -> np.ndarray:
    batches = ImageBatches(engine, rows, fill=fill)
    return np.concatenate([vectors for _, vectors in batches.run(images)])


def compiled_by(backend: Any, spec: EncoderSpec) -> CompiledEngine:
    module = Small()
    return CompiledEngine(module, "cpu", spec, TorchEngine(module, "cpu"), backend=backend)


def test_it_is_compiled_once_and_gives_the_eager_vectors(spec: EncoderSpec) -> None:
    shapes: list[tuple[int, ...]] = []

    def backend(graph: Any, inputs: Any) -> Compiled:
        shapes.extend(tuple(i.shape) for i in inputs if i.dtype == torch.uint8)
        return graph.forward  # type: ignore[no-any-return]

    module, images = Small(), crops(21)
    exact = TorchEngine(module, "cpu")
    compiled = CompiledEngine(module, "cpu", spec, exact, backend=backend)
    found = run(compiled, images, 8)
    assert found.shape == (21, 8)
    assert largest_angle(found, run(exact, images, 8, fill=False)) <= 1e-6
    assert shapes == [(8, 4, 4, 3)]
    run(compiled, images[:1], 8)
    assert shapes == [(8, 4, 4, 3)]
    assert compiled.name.endswith(" compiled")


def test_other_vectors_are_refused(spec: EncoderSpec) -> None:
    def backend(graph: Any, inputs: Any) -> Compiled:
        return lambda *arguments: [output.roll(1, 1) for output in graph.forward(*arguments)]

    compiled = compiled_by(backend, spec)
    with pytest.raises(EncoderError, match="rad from PyTorch") as caught:
        run(compiled, crops(3), 4)
    assert "COMMONSPACE_COMPILE" in caught.value.do


def test_every_new_shape_is_compared(spec: EncoderSpec) -> None:
    def backend(graph: Any, inputs: Any) -> Compiled:
        right = any(i.dtype == torch.uint8 and len(i) == 8 for i in inputs)
        return lambda *arguments: [o.roll(0 if right else 1, 1) for o in graph.forward(*arguments)]

    compiled = compiled_by(backend, spec)
    run(compiled, crops(9), 8)
    with pytest.raises(EncoderError, match="rad from PyTorch"):
        run(compiled, crops(9), 4)


def test_what_cannot_be_compiled_is_said_in_words(spec: EncoderSpec) -> None:
    def backend(graph: Any, inputs: Any) -> Compiled:
        raise FileNotFoundError("no C compiler")

    compiled = compiled_by(backend, spec)
    with pytest.raises(EncoderError, match="cannot be compiled") as caught:
        run(compiled, crops(3), 4)
    assert "COMMONSPACE_COMPILE" in caught.value.do


def test_a_full_device_halves_the_one_shape(spec: EncoderSpec) -> None:
    sizes: list[int] = []

    def backend(graph: Any, inputs: Any) -> Compiled:
        rows = next(len(i) for i in inputs if i.dtype == torch.uint8)

        def forward(*arguments: Any) -> Any:
            sizes.append(rows)
            if rows > 3:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return graph.forward(*arguments)

        return forward

    module, images = Small(), crops(13)
    exact = TorchEngine(module, "cpu")
    compiled = CompiledEngine(module, "cpu", spec, exact, backend=backend)
    found = run(compiled, images, 8)
    assert largest_angle(found, run(exact, images, 8, fill=False)) <= 1e-6
    assert sorted(set(sizes)) == [2, 4, 8]


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 40])
def test_filled_batches_give_each_image_its_vector(number: int, spec: EncoderSpec) -> None:
    exact = TorchEngine(Small(), "cpu")
    images = crops(number)
    if not number:
        assert not list(ImageBatches(exact, 8, fill=True).run(images))
        return
    found, expected = run(exact, images, 8), run(exact, images, 8, fill=False)
    assert found.shape == expected.shape
    assert largest_angle(found, expected) <= 1e-6


@pytest.mark.models
def test_a_whole_network_compiles_without_a_break(
    loaded: Callable[[str], Encoder], contents: dict[str, list[Content]]
) -> None:
    from commonspace.encoders.torchvision.encoder import load_embedding_network

    spec = loaded("resnet18 untrained").spec
    graph = load_embedding_network(spec, None)
    exact = TorchEngine(graph, "cpu")
    compiled = CompiledEngine(graph, "cpu", spec, exact, backend="aot_eager")
    items = contents["image"][:3]
    encoder = ImageEncoder(spec, compiled, "cpu", fill=True)
    found, expected = encoder.encode(items), ImageEncoder(spec, exact, "cpu").encode(items)
    assert found.facts == expected.facts
    assert largest_angle(found.vectors, expected.vectors) <= 1e-4


@pytest.mark.models
def test_inductor_gives_the_eager_vectors(
    loaded: Callable[[str], Encoder], contents: dict[str, list[Content]]
) -> None:
    import shutil

    from commonspace.encoders.torchvision.encoder import load_embedding_network

    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler")
    spec = loaded("resnet18 untrained").spec
    graph = load_embedding_network(spec, None)
    exact = TorchEngine(graph, "cpu")
    encoder = ImageEncoder(spec, CompiledEngine(graph, "cpu", spec, exact), "cpu", fill=True)
    items = contents["image"][:3]
    expected = ImageEncoder(spec, exact, "cpu").encode(items)
    assert largest_angle(encoder.encode(items).vectors, expected.vectors) <= 1e-4


def test_it_is_chosen_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMONSPACE_COMPILE", raising=False)
    assert not choose_compile("cuda")
    monkeypatch.setenv("COMMONSPACE_COMPILE", "1")
    assert choose_compile("cuda:1")
    with pytest.raises(EncoderError, match="the device is a CPU"):
        choose_compile("cpu")
    monkeypatch.setenv("COMMONSPACE_COMPILE", "always")
    with pytest.raises(EncoderError, match="COMMONSPACE_COMPILE"):
        choose_compile("cuda")
