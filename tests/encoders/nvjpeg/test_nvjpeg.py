"""Decoding on a device, where the device is the CPU: the same call, libjpeg in nvJPEG's place."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from commonspace.encoders.catalog import describe, load, quantise
from commonspace.encoders.errors import EncoderError, EncoderNotFound
from commonspace.encoders.image.image_file import UprightImage, read_image
from commonspace.encoders.protocol import Content, Encoder, Failure, Reason
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import differences
from commonspace.pipeline.config.collection import Collection

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.image.crops import crop_image, crop_tensor
from commonspace.encoders.image.decoder import PillowDecoder, PreparedImage
from commonspace.encoders.image.encoder import ImageEncoder
from commonspace.encoders.nvjpeg import gpu_crops
from commonspace.encoders.nvjpeg.decoder import NvjpegDecoder
from commonspace.encoders.torchvision.spec import preprocessing_of

PRESET = preprocessing_of("resnet18", None)
RNG = np.random.default_rng(0)


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(width: int, height: int) -> Image.Image:
    coarse = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def decoded(decoder: Any, contents: list[Content]) -> list[PreparedImage | Failure]:
    return list(decoder.decode(contents, 16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_exif_says(orientation: int) -> None:
    image = photo(20, 13)
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(saved(image, "PNG", exif=exif))))
    found = gpu_crops.upright(torch.from_numpy(np.array(image)).permute(2, 0, 1), orientation)
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), np.array(expected))


@pytest.mark.parametrize(
    ("architecture", "weights"),
    [
        ("resnet50", "IMAGENET1K_V1"),
        ("resnet50", "IMAGENET1K_V2"),
        ("efficientnet_b0", "IMAGENET1K_V1"),
        ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1"),
    ],
)
@pytest.mark.parametrize("size", [(640, 480), (97, 301), (224, 224), (300, 256), (9, 700)])
def test_floats_crop_as_whole_numbers_do(
    architecture: str, weights: str, size: tuple[int, int]
) -> None:
    preset = preprocessing_of(architecture, weights)
    image = Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    expected = crop_image(image, preset)
    found = crop_tensor(torch.from_numpy(np.array(image)).permute(2, 0, 1), preset).numpy()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= (1 if preset["interpolation"] == "bilinear" else 2)
    assert (apart > 0).mean() < 0.02


def test_every_content_has_its_outcome_in_its_place() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    contents: list[Content] = [
        saved(photo(300, 200)),
        saved(photo(300, 200), "PNG"),
        saved(photo(120, 90), exif=exif),
        "not bytes",
        saved(photo(80, 200).convert("CMYK")),
        saved(photo(200, 200))[:-900],
        saved(photo(64, 64).convert("L")),
        b"",
        saved(photo(90, 90), progressive=True) + b"trailer",
        *(saved(photo(70, 60 + n)) for n in range(80)),
    ]
    ours = decoded(NvjpegDecoder(PRESET, "cpu"), contents)
    pillows = decoded(PillowDecoder(PRESET, crop_image), contents)
    assert len(ours) == len(pillows) == len(contents)
    for mine, other in zip(ours, pillows, strict=True):
        if isinstance(other, Failure) or isinstance(mine, Failure):
            assert mine == other
            continue
        assert np.abs(mine[0].astype(int) - other[0]).max() <= 3
    marked = [
        isinstance(one, tuple) and str(one[1]["image_rules"]).endswith("nvjpeg") for one in ours
    ]
    assert [n for n, is_marked in enumerate(marked) if not is_marked] == [1, 3, 4, 5, 7]
    for mine, other in zip(ours, pillows, strict=True):
        if isinstance(mine, tuple) and isinstance(other, tuple):
            words = [w for w in str(mine[1]["image_rules"]).split(",") if w not in ("", "nvjpeg")]
            assert {**mine[1], "image_rules": ",".join(words)} == other[1]


def test_a_jpeg_cut_anywhere_has_no_pixels() -> None:
    decoder = NvjpegDecoder(PRESET, "cpu")
    for progressive in (False, True):
        whole = saved(photo(200, 150), progressive=progressive)
        cuts = [*np.linspace(2, len(whole) - 16, 40).astype(int), *range(-16, 0)]
        for outcome in decoded(decoder, [whole[:cut] for cut in cuts]):
            assert isinstance(outcome, Failure)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], None]:
    """Has torchvision's decoder fail as one on CUDA does: a function of the files' tensors."""

    def fail(when: Callable[[Any], None]) -> None:
        real = gpu_crops.decode_jpeg

        def decode_jpeg(coded: list[torch.Tensor], **options: Any) -> Any:
            when(coded)
            return real(coded, **options)

        monkeypatch.setattr(gpu_crops, "decode_jpeg", decode_jpeg)

    return fail


def test_a_file_that_is_refused_is_pillows_and_takes_no_other_with_it(device: Any) -> None:
    contents: list[Content] = [saved(photo(60 + n, 50)) for n in range(9)]
    odd = saved(photo(77, 50))
    expected = decoded(NvjpegDecoder(PRESET, "cpu"), [*contents[:5], odd, *contents[5:]])

    def refuse(coded: list[torch.Tensor]) -> None:
        if any(bytes(one.numpy()) == odd for one in coded):
            raise RuntimeError("Error while decoding JPEG images: Failed to parse jpeg stream: 4")

    device(refuse)
    found = decoded(NvjpegDecoder(PRESET, "cpu"), [*contents[:5], odd, *contents[5:]])
    (pillows,) = decoded(PillowDecoder(PRESET, crop_image), [odd])
    for place, (mine, other) in enumerate(zip(found, expected, strict=True)):
        wanted = pillows if place == 5 else other
        assert isinstance(mine, tuple)
        assert isinstance(wanted, tuple)
        np.testing.assert_array_equal(mine[0], wanted[0])
        assert mine[1] == wanted[1]


@pytest.mark.parametrize(
    "words", ["CUDA out of memory. Tried to allocate 2 GiB", "Failed to decode jpeg stream: 5"]
)
def test_a_full_device_halves_the_batch_and_remembers(device: Any, words: str) -> None:
    contents: list[Content] = [saved(photo(60 + n, 50)) for n in range(100)]
    expected = decoded(NvjpegDecoder(PRESET, "cpu"), contents)
    sizes: list[int] = []

    def full(coded: list[torch.Tensor]) -> None:
        sizes.append(len(coded))
        if len(coded) > 10:
            raise RuntimeError(f"Error while decoding JPEG images: {words}")

    device(full)
    decoder = NvjpegDecoder(PRESET, "cpu")
    found = decoded(decoder, contents)
    for mine, other in zip(found, expected, strict=True):
        assert isinstance(mine, tuple)
        assert isinstance(other, tuple)
        np.testing.assert_array_equal(mine[0], other[0])
        assert mine[1] == other[1]
    sizes.clear()
    decoded(decoder, contents)
    assert max(sizes) <= 10


def test_no_memory_for_one_image_is_said_in_words(device: Any) -> None:
    decoder = NvjpegDecoder(PRESET, "cpu")

    def full(coded: list[torch.Tensor]) -> None:
        raise RuntimeError("Error while decoding JPEG images: CUDA out of memory.")

    device(full)
    with pytest.raises(EncoderError, match="no device memory for decoding one image") as caught:
        decoded(decoder, [saved(photo(60, 50))])
    assert caught.value.retry


@pytest.mark.parametrize("words", ["CUDA error: an illegal memory access", "Failed to parse: 6"])
def test_a_device_that_has_failed_is_not_every_files_fault(device: Any, words: str) -> None:
    decoder = NvjpegDecoder(PRESET, "cpu")

    def dead(coded: list[torch.Tensor]) -> None:
        raise RuntimeError(f"Error while decoding JPEG images: {words}")

    device(dead)
    with pytest.raises(EncoderError):
        decoded(decoder, [saved(photo(60, 50)) for _ in range(3)])


def test_other_pixels_are_refused_before_any_file(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gpu_crops.decode_jpeg
    monkeypatch.setattr(
        gpu_crops,
        "decode_jpeg",
        lambda coded, **options: [i.flip(0) for i in real(coded, **options)],
    )
    with pytest.raises(EncoderError, match="levels from Pillow's"):
        NvjpegDecoder(PRESET, "cpu")


def test_a_torchvision_without_nvjpeg_is_said_in_words(device: Any) -> None:
    def missing(coded: list[torch.Tensor]) -> None:
        raise RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support")

    device(missing)
    with pytest.raises(EncoderError, match="not compiled with nvJPEG"):
        NvjpegDecoder(PRESET, "cpu")


def test_an_encoder_with_it_encodes(loaded: Callable[[str], Encoder], shared: Path) -> None:
    from commonspace.encoders.torchvision.encoder import load_embedding_network

    weights = shared / "models/image/resnet18.safetensors"
    spec = loaded("resnet18 local").spec
    engine = TorchEngine(load_embedding_network(spec, weights), "cpu")
    decoder = NvjpegDecoder(spec.preprocessing, "cpu")
    paths = sorted((shared / "data/photos-imagenette").glob("*.JPEG"))[:6]
    files: list[Content] = [path.read_bytes() for path in paths]
    found = ImageEncoder(spec, engine, "cpu", decoder=decoder).encode([files[0], "x", *files[1:]])
    expected = ImageEncoder(spec, engine, "cpu").encode(files)
    assert found.failures[1].reason is Reason.WRONG_TYPE
    assert found.positions.tolist() == [0, 2, 3, 4, 5, 6]
    cosines = np.einsum("nd,nd->n", found.vectors, expected.vectors)
    assert cosines.min() > 0.999


def reference(**options: Any) -> EncoderReference:
    return EncoderReference("torchvision/resnet18", "image", weights="untrained", **options)


def test_the_decoder_is_part_of_the_spec_only_where_it_is_chosen() -> None:
    plain, named, nv = (describe(reference(decoder=d)) for d in (None, "pillow", "nvjpeg"))
    assert plain == named
    assert plain.preprocessing == {
        "decoder": "pillow", "rules": 1, "resizer": "torch-uint8", "resize": 256, "crop": 224,
        "interpolation": "bilinear", "antialias": True,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    assert nv.fingerprint != plain.fingerprint
    assert [str(one) for one in differences(plain, nv)] == [
        "preprocessing.decoder: pillow -> nvjpeg",
        "preprocessing.resizer: torch-uint8 -> torch-float32",
    ]
    with pytest.raises(EncoderNotFound, match="pillow or nvjpeg"):
        describe(reference(decoder="libjpeg"))
    with pytest.raises(EncoderNotFound, match="takes no decoder"):
        describe(EncoderReference("hashed", "image", decoder="nvjpeg"))


def test_a_cpu_refuses_it_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="needs a CUDA device") as caught:
        load(reference(decoder="nvjpeg"))
    assert "COMMONSPACE_DEVICE" in caught.value.do
    with pytest.raises(EncoderError, match="decoded on a GPU"):
        quantise(reference(decoder="nvjpeg"), tmp_path / "int8", [], [])


def test_the_owner_chooses_it_in_the_collection_file(tmp_path: Path) -> None:
    space = {"name": "photo", "encoder": "torchvision/resnet18", "weights": "untrained"}
    document: dict[str, Any] = {
        "collection": {"name": "album", "owner": "us"},
        "source": {"kind": "folder", "uri": "photos"},
        "space": [{**space, "image": "image", "decoder": "nvjpeg"}],
        "path": tmp_path / "album.toml",
    }
    collection = Collection.model_validate(document)
    assert collection.encoder_reference(collection.space[0]).decoder == "nvjpeg"
    document["space"] = [{**space, "image": "image", "decoder": "cuda"}]
    with pytest.raises(ValueError, match="nvjpeg"):
        Collection.model_validate(document)


def test_pillow_decides_what_the_structure_cannot() -> None:
    """Coded data that lacks its middle is whole by its markers; neither decoder objects."""
    whole = saved(photo(200, 150), quality=95)
    scan = whole.index(b"\xff\xda") + 200
    holed = whole[:scan] + whole[scan + 800 :]
    (ours,) = decoded(NvjpegDecoder(PRESET, "cpu"), [holed])
    assert isinstance(read_image(holed), UprightImage) == isinstance(ours, tuple)
