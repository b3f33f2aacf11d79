"""HEIC and AVIF, and the names that photos have: what is read, and what is refused by name."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from commonspace.encoders.image.image_file import UprightImage, read_image
from commonspace.encoders.image.optional_formats import decoder_of
from commonspace.encoders.protocol import Failure, Reason

HEIF, AVIF = decoder_of("HEIF"), decoder_of("AVIF")
BLUE_LEFT = np.zeros((40, 60, 3), np.uint8)
BLUE_LEFT[:, :30, 2] = 255


def save(kind: str, pixels: np.ndarray = BLUE_LEFT, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def with_brands(content: bytes, major: bytes, *others: bytes) -> bytes:
    box = b"ftyp" + major + bytes(4) + b"".join(others)
    old = int.from_bytes(content[:4], "big")
    box = box.ljust(old - 4, b"\0")  # the file's offsets stay as they are
    return old.to_bytes(4, "big") + box + content[old:]


SAVED_HEIC = save("HEIF")


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoder_of.cache_clear()
    yield
    decoder_of.cache_clear()


@pytest.mark.parametrize(("kind", "decoder"), [("HEIF", HEIF), ("AVIF", AVIF)])
def test_photos_of_phones_are_read_and_name_their_decoder(kind: str, decoder: str) -> None:
    image = read_image(save(kind, quality=95))
    assert isinstance(image, UprightImage), image
    assert image.facts["image_format"] == kind
    assert image.facts["image_rules"] == decoder
    pixels = np.asarray(image.pixels)
    assert pixels.shape == (40, 60, 3)
    assert np.abs(pixels[:, 5:25].astype(int) - [0, 0, 255]).max() < 30
    assert pixels[:, 35:].max() < 30


def test_an_avif_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = read_image(save("AVIF", exif=exif))
    assert isinstance(image, UprightImage)
    assert image.pixels.size == (40, 60)
    assert image.facts["image_rules"] == f"{AVIF},exif-transpose"


def test_an_alpha_channel_is_laid_on_white() -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    for kind in ("HEIF", "AVIF"):
        image = read_image(save(kind, clear))
        assert isinstance(image, UprightImage)
        assert np.asarray(image.pixels).min() > 240


def test_compatible_brands_decide_where_the_first_is_common_to_both() -> None:
    heic = with_brands(save("HEIF"), b"mif1", b"heic")
    avif = with_brands(save("AVIF"), b"mif1", b"avif", b"miaf")
    for content, kind in ((heic, "HEIF"), (avif, "AVIF")):
        image = read_image(content)
        assert isinstance(image, UprightImage), image
        assert image.facts["image_format"] == kind


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_without_its_library_a_heic_is_refused_by_name(brand: bytes, without_heif: None) -> None:
    found = read_image(with_brands(SAVED_HEIC, brand, b"heic"))
    assert found == Failure(
        Reason.UNSUPPORTED_FORMAT,
        'HEIC needs pillow-heif. In a checkout of commonspace: pip install ".[encoders,heif]".',
    )
    assert isinstance(read_image(save("AVIF")), UprightImage)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_broken_one_is_unreadable_not_unsupported(kind: str) -> None:
    content = save(kind)
    for broken in (content[:40], content[: len(content) // 2], content[:32] + bytes(400)):
        found = read_image(broken)
        assert isinstance(found, Failure)
        assert found.reason in (Reason.UNREADABLE_IMAGE, Reason.TRUNCATED_IMAGE)


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"\xff\x0a\x00\x00", "JPEG XL"), (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
     (b"8BPS\0\1", "Photoshop"), (b'<?xml version="1.0"?><svg/>', "SVG")],
)  # fmt: skip
def test_other_formats_are_refused_by_name(content: bytes, name: str) -> None:
    found = read_image(content)
    assert isinstance(found, Failure)
    assert found.reason is Reason.UNSUPPORTED_FORMAT
    assert found.message.startswith(f"{name} is not one of")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "MPO", "TIFF"])
def test_of_several_pictures_the_first_is_read(kind: str) -> None:
    first, second = (Image.fromarray(np.roll(BLUE_LEFT, 9 * n, axis=1)) for n in range(2))
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=[second])
    image = read_image(file.getvalue())
    assert isinstance(image, UprightImage), image
    assert image.facts["image_frames"] == 2
    assert "first-frame" in str(image.facts["image_rules"])
