from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.catalog import load
from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.errors import DeviceOutOfMemory
from commonspace.encoders.protocol import Content, Encoder, Reason
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import largest_angle

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision.models")

from commonspace.encoders.image.encoder import ImageEncoder


def test_vectors_are_the_networks_own_features(
    loaded: Callable[[str], Encoder], reference: Callable[[str], EncoderReference],
    contents: dict[str, list[Content]],
) -> None:  # fmt: skip
    from safetensors.torch import load_file

    model = models.resnet18()
    state = load_file(str(reference("resnet18 local").weights))
    model.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    model.fc = torch.nn.Identity()
    model.eval()
    transform = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    files = [bytes(content) for content in contents["image"][:6]]  # type: ignore[arg-type]
    with torch.inference_mode():
        features = model(torch.stack([transform(Image.open(io.BytesIO(f))) for f in files]))
        expected = torch.nn.functional.normalize(features, dim=1).numpy()
    found = loaded("resnet18 local").encode(list(files)).vectors
    # Files of 60 to 300 pixels, enlarged: a level of 255 here and there, no more.
    assert largest_angle(found, expected) < 3e-3


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_of_16_bits(image: Image.Image) -> bytes:
    """RGB in 16 bits a channel, which Pillow cannot write: the levels of 8, and noise below."""
    levels = np.asarray(image).astype(np.uint16) * 256
    levels += np.random.default_rng(0).integers(0, 256, levels.shape, dtype=np.uint16)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in levels)
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        file += struct.pack(">I", len(data)) + kind + data + checksum
    return file


@pytest.mark.parametrize(
    ("network", "pixels"),
    [("resnet18 local", 400), pytest.param("resnet50 local", 10_000, marks=pytest.mark.models)],
)
def test_one_photo_in_other_modes_and_formats_is_one_photo(
    network: str, pixels: int, loaded: Callable[[str], Encoder], shared: Path
) -> None:
    encoder = loaded(network)
    for path in sorted((shared / "data/photos-captioned/images").iterdir())[3:6]:
        photo = Image.open(path).convert("RGB")
        photo.thumbnail((pixels, pixels))
        # What 256 colours lose is the file's loss, so as few as can be: fitted, and dithered.
        colours = photo.quantize(256, kmeans=2)
        palette = photo.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG)
        grey = photo.convert("L")
        wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        versions: list[Content] = [
            saved(photo, "PNG"),
            saved(photo, "JPEG", quality=95),
            saved(photo.convert("CMYK"), "JPEG", quality=95),
            saved(palette, "PNG"),
            saved(photo.convert("RGBA"), "PNG"),
            png_of_16_bits(photo),
            saved(grey.convert("RGB"), "PNG"),
            saved(grey, "PNG"),
            saved(wide, "PNG"),
            saved(palette.convert("RGB"), "PNG"),
        ]
        result = encoder.encode(versions)
        in_colour = result.vectors[:6]
        assert (in_colour @ in_colour[0]).min() >= 0.99
        for one, other in ((6, 7), (6, 8), (3, 9), (0, 4), (0, 5)):
            np.testing.assert_array_equal(result.vectors[one], result.vectors[other])
        rules = [facts["image_rules"] for facts in result.facts]
        assert rules[2:6] == ["cmyk-to-rgb", "p-to-rgb", "alpha-on-white", "16-to-8"]
        assert rules[7:9] == ["l-to-rgb", "grey16-to-8,l-to-rgb"]


def test_an_image_turned_by_exif_has_the_vector_of_its_upright_twin(
    loaded: Callable[[str], Encoder], shared: Path
) -> None:
    encoder = loaded("resnet18 local")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.open(sorted((shared / "data/photos-captioned/images").iterdir())[0])
    turned = saved(photo.rotate(90, expand=True), "PNG", exif=exif)
    result = encoder.encode([saved(photo, "PNG"), turned])
    np.testing.assert_array_equal(result.vectors[0], result.vectors[1])
    assert result.facts[1]["image_orientation"] == 6


def test_a_jpeg_cut_anywhere_has_no_vector(loaded: Callable[[str], Encoder], shared: Path) -> None:
    encoder = loaded("resnet18 untrained")
    photo = Image.open(sorted((shared / "data/photos-captioned/images").iterdir())[1])
    for progressive in (False, True):
        whole = saved(photo, "JPEG", quality=85, progressive=progressive)
        cuts = [*np.linspace(1, len(whole) - 16, 40).astype(int), *range(-16, 0)]
        result = encoder.encode([whole[:cut] for cut in cuts])
        assert len(result.failures) == len(cuts)
        # Without its headers it is no longer known to be a JPEG.
        reasons = {result.failures[i].reason for i, cut in enumerate(cuts) if abs(cut) > 2_000}
        assert reasons == {Reason.TRUNCATED_IMAGE}


@pytest.mark.quality
def test_a_vector_has_the_same_bits_in_any_batch_order_and_subset(
    loaded: Callable[[str], Encoder], shared: Path
) -> None:
    encoder = loaded("resnet18 local")
    paths = sorted((shared / "data/photos-imagenette").glob("*.JPEG"))[:1500:3]
    files: list[Content] = [path.read_bytes() for path in paths]
    whole = encoder.encode(files).vectors
    assert len(whole) == 500
    order = np.random.default_rng(0).permutation(500)
    shuffled = encoder.encode([files[i] for i in order]).vectors
    np.testing.assert_array_equal(shuffled, whole[order])
    some = encoder.encode([files[i] for i in order[:77]]).vectors
    np.testing.assert_array_equal(some, whole[order[:77]])
    engine = _openvino(encoder.spec, shared / "models/image/resnet18.safetensors")
    halved = ImageEncoder(encoder.spec, _Small(engine, 3), "cuda")  # which starts with 128 rows
    np.testing.assert_array_equal(halved.encode(files).vectors, whole)


def _openvino(spec: EncoderSpec, weights: Path) -> Engine:
    from commonspace.encoders.engines.openvino_conversion import convert_to_openvino
    from commonspace.encoders.image_network.converted_network import converted_engine
    from commonspace.encoders.torchvision.encoder import load_embedding_network

    example = np.zeros((2, 224, 224, 3), dtype=np.uint8)
    model = convert_to_openvino(load_embedding_network(spec, weights), (example,), "resnet18")
    return converted_engine(model, spec, lambda _: None)


class _Small:
    """An engine on a device with memory for so many rows."""

    def __init__(self, engine: Engine, rows: int) -> None:
        self.engine, self.rows, self.name = engine, rows, engine.name

    def run(self, batches: Iterable[Arrays]) -> Iterator[np.ndarray]:
        return self.engine.run(self._fitting(batches))

    def _fitting(self, batches: Iterable[Arrays]) -> Iterator[Arrays]:
        for batch in batches:
            if len(batch[0]) > self.rows:
                raise DeviceOutOfMemory
            yield batch


def test_hostile_images_leave_the_good_ones_as_they_were(
    loaded: Callable[[str], Encoder], contents: dict[str, list[Content]], shared: Path
) -> None:
    encoder = loaded("resnet18 untrained")
    bad = [p.read_bytes() for p in sorted((shared / "data/hostile/pillow").glob("*.gif"))]
    good = contents["image"][:3]
    result = encoder.encode([good[0], *bad, good[1], b"", good[2]])
    expected = encoder.encode(good).vectors
    places = [0, len(bad) + 1, len(bad) + 3]
    rows = [result.positions.tolist().index(place) for place in places]
    np.testing.assert_array_equal(result.vectors[rows], expected)


@pytest.mark.models
def test_untrained_says_so_and_is_the_same_again(
    loaded: Callable[[str], Encoder], contents: dict[str, list[Content]]
) -> None:
    first = loaded("resnet18 untrained")
    assert not first.spec.trained
    assert first.spec.weights.startswith("untrained:seed=0,torch=")
    torch.manual_seed(123)
    again = load(EncoderReference("torchvision/resnet18", "image", weights="untrained"))
    items = contents["image"][:2]
    np.testing.assert_array_equal(first.encode(items).vectors, again.encode(items).vectors)
