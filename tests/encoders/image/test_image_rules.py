"""Pixels and facts of every rule, on files made here and on hostile ones."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from commonspace.encoders.image.image_file import UprightImage, read_image
from commonspace.encoders.protocol import FACTS, Failure, Reason

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
GRADIENT = np.linspace(0, 255, 32 * 48, dtype=np.uint8).reshape(32, 48)
COLOURS = np.stack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1]], axis=2)


def save(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG: all that is read of one with too many pixels."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def read(content: bytes) -> UprightImage:
    image = read_image(content)
    assert isinstance(image, UprightImage), image
    assert image.pixels.mode == "RGB"
    assert image.facts.keys() == FACTS["image"].keys()
    return image


def refusal(content: object) -> Reason:
    failure = read_image(content)
    assert isinstance(failure, Failure)
    assert failure.message
    return failure.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_plain_colours_stay_as_they_are(kind: str) -> None:
    image = read(save(Image.fromarray(COLOURS), kind))
    np.testing.assert_array_equal(np.asarray(image.pixels), COLOURS)
    assert image.facts == {
        "image_format": kind,
        "image_mode": "RGB",
        "image_width": 48,
        "image_height": 32,
        "image_orientation": 1,
        "image_frames": 1,
        "image_rules": "",
    }


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("tag", "upright"),
    [
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(kind: str, tag: int, upright: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = save(Image.fromarray(COLOURS), kind, exif=exif, **options)
    image = read(stored)
    as_stored = read(save(Image.fromarray(COLOURS), kind, **options))
    np.testing.assert_array_equal(np.asarray(image.pixels), upright(np.asarray(as_stored.pixels)))
    assert image.facts["image_orientation"] == tag
    assert (image.facts["image_width"], image.facts["image_height"]) == (48, 32)
    assert image.facts["image_rules"] == "exif-transpose"


def test_a_nonsense_orientation_is_none() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    image = read(save(Image.fromarray(COLOURS), exif=exif))
    assert (image.facts["image_orientation"], image.facts["image_rules"]) == (1, "")


def test_what_is_transparent_is_white() -> None:
    alpha = np.zeros((32, 48), np.uint8)
    alpha[:, 24:] = 255
    image = read(save(Image.fromarray(np.dstack([COLOURS, alpha]))))
    pixels = np.asarray(image.pixels)
    assert (pixels[:, :24] == 255).all()
    np.testing.assert_array_equal(pixels[:, 24:], COLOURS[:, 24:])
    assert image.facts["image_rules"] == "alpha-on-white"


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB"])
def test_every_kind_of_transparency_is_seen(mode: str) -> None:
    source = Image.new(mode, (20, 20), (0, 0) if mode == "LA" else 0)
    options = {} if mode == "LA" else {"transparency": (0, 0, 0) if mode == "RGB" else 0}
    image = read(save(source, **options))
    assert (np.asarray(image.pixels) == 255).all()
    assert image.facts["image_rules"] == "alpha-on-white"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    wide = np.linspace(0, 65535, 32 * 48, dtype=np.uint16).reshape(32, 48)
    image = read(save(Image.fromarray(wide), kind))
    np.testing.assert_array_equal(np.asarray(image.pixels)[..., 0], np.rint(wide / 257))
    assert image.facts["image_rules"] == "grey16-to-8,l-to-rgb"


@pytest.mark.parametrize(
    ("mode", "kind", "rule"),
    [("L", "PNG", "l-to-rgb"), ("1", "PNG", "1-to-rgb"), ("P", "GIF", "p-to-rgb"),
     ("CMYK", "JPEG", "cmyk-to-rgb"), ("YCbCr", "TIFF", "ycbcr-to-rgb"),
     ("LAB", "TIFF", "lab-to-rgb")],
)  # fmt: skip
def test_other_modes_become_rgb(mode: str, kind: str, rule: str) -> None:
    image = read(save(Image.new(mode, (20, 20)), kind))
    assert image.facts["image_rules"] == rule
    assert image.facts["image_mode"] == mode


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_stands_for_all(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    image = read(save(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert image.facts["image_frames"] == 3
    assert "first-frame" in str(image.facts["image_rules"])
    red, green, blue = image.pixels.getpixel((10, 10))  # type: ignore[misc]
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_a_cut_file_is_refused_whatever_others_told_pillow(
    kind: str, keep: float, flag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", flag)
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    content = save(Image.fromarray(noise), kind)
    reason = refusal(content[: int(len(content) * keep)])
    assert reason in (Reason.TRUNCATED_IMAGE, Reason.UNREADABLE_IMAGE)
    if kind != "WEBP":
        assert reason is Reason.TRUNCATED_IMAGE


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_of_unknown_range_are_refused(mode: str) -> None:
    assert refusal(save(Image.new(mode, (20, 20)), "TIFF")) is Reason.UNSUPPORTED_MODE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("path.png", Reason.WRONG_TYPE),
        (None, Reason.WRONG_TYPE),
        (b"", Reason.EMPTY_IMAGE),
        (b"<html></html>", Reason.UNREADABLE_IMAGE),
        (b"\x89PNG\r\n\x1a\n", Reason.UNREADABLE_IMAGE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.UNSUPPORTED_FORMAT),
        (b"%!PS-Adobe-3.0 EPSF-3.0", Reason.UNSUPPORTED_FORMAT),
        (b"8BPS\x00\x01", Reason.UNSUPPORTED_FORMAT),
        (save(Image.new("RGB", (20, 20)), "PPM"), Reason.UNSUPPORTED_FORMAT),
        (save(Image.new("RGB", (7, 100))), Reason.IMAGE_TOO_SMALL),
        (save(Image.new("1", (1, 20_000))), Reason.IMAGE_TOO_SMALL),
        (save(Image.new("L", (8, 801))), Reason.IMAGE_TOO_SMALL),
        (png_header(10_001, 5000), Reason.IMAGE_TOO_LARGE),
        (png_header(40_000, 5000), Reason.IMAGE_TOO_LARGE),
    ],
)
def test_what_is_refused_and_why(content: object, reason: Reason) -> None:
    assert refusal(content) is reason


def test_sizes_at_the_limits_are_images() -> None:
    read(save(Image.new("L", (8, 800))))
    read(save(Image.new("L", (8, 8))))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_damage_raises(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]))
    content = bytearray(save(Image.fromarray(COLOURS), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    assert isinstance(read_image(bytes(content)), UprightImage | Failure)


def test_every_hostile_files_end_as_an_image_or_a_reason(shared: Path) -> None:
    folder = shared / "data/hostile"
    paths = [p for p in folder.rglob("*") if p.is_file() and "weights" not in p.parts]
    assert len(paths) >= 2_100
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for path in paths:
        started = time.process_time()
        outcome = read_image(path.read_bytes())
        slowest = max(slowest, time.process_time() - started)
        outcomes["image" if isinstance(outcome, UprightImage) else outcome.reason] += 1
    assert slowest < 5
    assert outcomes["image"] > 600
