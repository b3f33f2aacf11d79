"""The CPU's vectors and a GPU's are of one space, whatever the GPU decodes, compiles or lacks."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.catalog import load
from commonspace.encoders.protocol import Content, Encoder, Reason
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.vectors import largest_angle

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
Load = Callable[..., Encoder]


@pytest.fixture
def on_gpu(
    reference: Callable[[str], EncoderReference], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Load]:
    """An encoder by its short name, on the GPU, with other options."""
    monkeypatch.setenv("COMMONSPACE_DEVICE", "cuda")
    yield lambda name, **options: load(replace(reference(name), **options))
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def photos(shared_or_none: Path | None) -> list[Content]:
    if shared_or_none is None:
        pytest.skip("no real photos; set COMMONSPACE_SHARED")
    paths = sorted((shared_or_none / "data/photos-imagenette").glob("*.JPEG"))[:600]
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("name", ["minilm", "resnet18 local", "resnet50 local"])
def test_cpu_and_gpu_agree_within_the_specs_tolerance(
    name: str,
    loaded: Callable[[str], Encoder],
    on_gpu: Load,
    contents: dict[str, list[Content]],
) -> None:
    on_cpu, encoder = loaded(name), on_gpu(name)
    items = contents[on_cpu.spec.modality]
    assert encoder.spec == on_cpu.spec
    left, right = on_cpu.encode(items), encoder.encode(items)
    assert left.facts == right.facts
    assert largest_angle(left.vectors, right.vectors) <= on_cpu.spec.tolerance
    alone = encoder.encode(items[:1]).vectors[0]
    assert np.abs(alone - right.vectors[0]).max() <= 1e-5


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_each_batch_is_fetched_whole_while_the_next_computes(
    precision: str, on_gpu: Load, photos: list[Content]
) -> None:
    encoder = on_gpu("resnet18 local", precision=precision)
    whole = encoder.encode(photos).vectors
    parts = [encoder.encode(photos[at : at + 50]).vectors for at in range(0, len(photos), 50)]
    assert largest_angle(whole, np.concatenate(parts)) <= encoder.spec.tolerance


def test_a_full_gpu_halves_the_batch(on_gpu: Load, photos: list[Content]) -> None:
    encoder: Any = on_gpu("resnet50 local")
    expected = encoder.encode(photos[:300]).vectors
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 600 * 2**20
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total)
    found = encoder.encode(photos[:300]).vectors
    assert encoder.batches.rows < 128
    assert largest_angle(found, expected) <= encoder.spec.tolerance


def test_a_gpu_that_has_failed_says_so_in_words() -> None:
    script = (
        "import numpy as np, torch\n"
        "from commonspace.encoders.engines.torch_engine import TorchEngine\n"
        "from commonspace.encoders.errors import EncoderError\n"
        "class Wrong(torch.nn.Module):\n"
        "    def forward(self, ids):\n"
        "        return torch.zeros(4, 2, device=ids.device)[ids]\n"
        "try:\n"
        "    list(TorchEngine(Wrong(), 'cuda').run([(np.array([9]),), (np.array([1]),)]))\n"
        "except EncoderError as error:\n"
        "    print(error.retry, error.what)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith("True the device has failed: "), done.stderr


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def test_nvjpeg_gives_other_pixels_of_the_same_photos(
    on_gpu: Load, photos: list[Content], contents: dict[str, list[Content]]
) -> None:
    pillow, nvjpeg = on_gpu("resnet50 local"), on_gpu("resnet50 local", decoder="nvjpeg")
    assert pillow.spec.fingerprint != nvjpeg.spec.fingerprint
    mixed = [*photos[:100], *contents["image"], b"", "text", bytes(photos[0])[:-500]]
    left, right = pillow.encode(mixed), nvjpeg.encode(mixed)
    assert left.failures == right.failures
    assert right.failures[len(mixed) - 1].reason is Reason.TRUNCATED_IMAGE
    rules = [str(facts["image_rules"]).split(",") for facts in right.facts]
    assert sum("nvjpeg" in names for names in rules) > 120
    for one, other in zip(left.facts, right.facts, strict=True):
        assert one["image_format"] == "JPEG" or one == other
    cosines = np.einsum("nd,nd->n", left.vectors, right.vectors)
    assert cosines.min() > 0.9
    assert np.median(cosines) > 0.99


def test_nvjpeg_agrees_with_libjpeg_where_no_colour_is_missing(on_gpu: Load) -> None:
    """4:4:4 and grey, baseline (hardware, where the card has it) and progressive (software)."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    image = coarse.resize((800, 600), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    files: list[Content] = [
        saved(image, subsampling="4:4:4", quality=95),
        saved(image, subsampling="4:4:4", quality=95, progressive=True),
        saved(image.convert("L"), quality=95),
        saved(image.rotate(90, expand=True), subsampling="4:4:4", quality=95, exif=exif),
        saved(image, subsampling="4:4:4", quality=95) + b"trailer",
    ]
    pillow, nvjpeg = on_gpu("resnet50 local"), on_gpu("resnet50 local", decoder="nvjpeg")
    found = nvjpeg.encode(files)
    assert all("nvjpeg" in str(facts["image_rules"]) for facts in found.facts)
    assert largest_angle(found.vectors, pillow.encode(files).vectors) <= 0.05


def test_nvjpeg_beside_a_busy_network_gives_what_it_gives_alone(
    on_gpu: Load, photos: list[Content]
) -> None:
    """Memory that the network's queued kernels still read is never nvJPEG's."""
    encoder = on_gpu("resnet50 local", decoder="nvjpeg")
    alone = np.concatenate([encoder.encode([photo]).vectors for photo in photos[:200]])
    for _ in range(5):
        together = encoder.encode(photos).vectors
        assert largest_angle(together[:200], alone) <= encoder.spec.tolerance


def test_damaged_data_harms_no_other_file(on_gpu: Load, photos: list[Content]) -> None:
    """Whole by their markers, which Pillow reads without objection; nvJPEG may refuse them."""
    encoder = on_gpu("resnet18 local", decoder="nvjpeg")
    expected = encoder.encode(photos[:20])
    rng = np.random.default_rng(0)
    damaged: list[Content] = []
    for photo in photos[20:40]:
        content = bytearray(photo)  # type: ignore[arg-type]
        begin = content.rindex(b"\xff\xda") + 20
        for at in rng.integers(begin, len(content) - 2, 20):
            content[at] = int(rng.integers(0, 0xFF))
        damaged.append(bytes(content))
    found = encoder.encode([*photos[:10], *damaged, *photos[10:20]])
    places = [found.positions.tolist().index(at) for at in (*range(10), *range(30, 40))]
    assert [found.facts[place] for place in places] == list(expected.facts)
    assert largest_angle(found.vectors[places], expected.vectors) <= encoder.spec.tolerance


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_compiled_network_gives_the_eager_vectors(
    precision: str, on_gpu: Load, photos: list[Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = on_gpu("resnet50 local", precision=precision)
    monkeypatch.setenv("COMMONSPACE_COMPILE", "1")
    compiled = on_gpu("resnet50 local", precision=precision)
    assert compiled.engine.endswith(" compiled")
    left, right = eager.encode(photos[:300]), compiled.encode(photos[:300])
    assert left.facts == right.facts
    assert largest_angle(left.vectors, right.vectors) <= eager.spec.tolerance
