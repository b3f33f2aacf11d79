"""Images that would cost too much are refused before a decoder sees them."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commonspace.encoders.image.image_file import UprightImage, read_image
from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.sections import LimitsSection
from commonspace.pipeline.source.images.bounds import exceeded_bound
from commonspace.pipeline.source.images.structure import count_parts
from tests.pipeline.source.images.image_files import (
    jpeg_of_scans,
    saved,
    tiff_of_directories,
)

LIMITS = LimitsSection()
KINDS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "AVIF", "MPO"]


def message(content: bytes, limits: LimitsSection = LIMITS) -> str:
    found = exceeded_bound(content, limits)
    assert isinstance(found, Failure)
    assert not found.retryable
    return found.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_the_size_is_read_from_every_format(kind: str) -> None:
    content = saved(Image.new("RGB", (60, 41), "teal"), kind)
    assert exceeded_bound(content, LimitsSection(max_image_pixels=60 * 41)) is None
    found = exceeded_bound(content, LimitsSection(max_image_pixels=60 * 41 - 1))
    assert found == Failure(
        Reason.IMAGE_TOO_LARGE, "60 × 41 pixels; `max_image_pixels` in [limits] is 2,459"
    )


def test_other_encodings_of_the_formats() -> None:
    image = Image.new("RGB", (60, 41), "teal")
    few = LimitsSection(max_image_pixels=100)
    for content in (
        saved(image, "WEBP", lossless=True), saved(image.convert("RGBA"), "WEBP"),
        saved(image, "JPEG", progressive=True), saved(image.convert("CMYK"), "JPEG"),
        saved(image.convert("P"), "BMP"), tiff_of_directories(1, order=">"),
        tiff_of_directories(1, big=True),
    ):  # fmt: skip
        assert isinstance(read_image(content), UprightImage)
        assert "pixels; `max_image_pixels`" in message(content, few)
        assert exceeded_bound(content, LIMITS) is None


def test_a_small_file_of_many_pixels_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 50_001, 1_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    )
    assert message(png) == "50001 × 1000 pixels; `max_image_pixels` in [limits] is 50,000,000"


@pytest.mark.parametrize("junk", [b"", b"\xff\xff\xff", b"junk"])
def test_a_jpeg_of_many_scans_is_refused(junk: bytes) -> None:
    content = jpeg_of_scans(300, junk=junk)
    assert exceeded_bound(content, LIMITS) == Failure(
        Reason.IMAGE_TOO_COSTLY, "too many scans; `max_image_scans` in [limits] is 100"
    )
    assert exceeded_bound(content, LimitsSection(max_image_scans=300)) is None
    if not junk:
        assert isinstance(read_image(content), UprightImage)


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_a_tiff_of_many_directories_is_refused(order: str, big: bool) -> None:
    content = tiff_of_directories(12, order=order, big=big)
    image = read_image(content)
    assert isinstance(image, UprightImage)
    assert (image.facts["image_width"], image.facts["image_frames"]) == (16, 12)
    assert exceeded_bound(content, LimitsSection(max_image_frames=12)) is None
    assert message(content, LimitsSection(max_image_frames=11)) == (
        "too many frames; `max_image_frames` in [limits] is 11"
    )


def test_a_large_chain_is_refused_at_once() -> None:
    content = tiff_of_directories(80_000)
    assert len(content) > 9e6
    started = time.process_time()
    assert "max_image_frames" in message(content)
    assert time.process_time() - started < 1


def test_a_chain_that_leads_back_ends() -> None:
    content = tiff_of_directories(3)
    back = content[:-4] + content[4:8]
    assert sum(part.frames for part in count_parts(back)) == 3


def test_tags_that_all_name_the_whole_file_are_refused() -> None:
    content = tiff_of_directories(1, tags=200)
    assert message(content) == ("its tags name 16 times as many bytes as the file has, or more")
    assert exceeded_bound(tiff_of_directories(1, tags=10), LIMITS) is None
    exif = b"Exif\0\0" + content
    for kind in ("JPEG", "PNG", "WEBP"):
        assert "its tags name" in message(saved(Image.new("L", (9, 9)), kind, exif=exif))


def test_frames_are_counted() -> None:
    frames = [Image.new("RGB", (9, 8), (80 * n, 0, 0)) for n in range(3)]
    for kind in ("GIF", "WEBP"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert exceeded_bound(content, LimitsSection(max_image_frames=3)) is None
        assert "max_image_frames" in message(content, LimitsSection(max_image_frames=2))


@pytest.mark.filterwarnings("ignore")
def test_structure_agrees_with_the_decoder_on_hostile_files(shared: Path) -> None:
    """What can be read is within the bounds, but for pictures that no reader opens."""
    refused = [
        path.name
        for path in (shared / "data/hostile").rglob("*")
        if path.is_file()
        and exceeded_bound(content := path.read_bytes(), LIMITS)
        and isinstance(read_image(content), UprightImage)
    ]
    assert refused == []


@given(data=st.data())
def test_no_bytes_raise(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    file = io.BytesIO()
    Image.new("RGB", (9, 8)).save(file, kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    found = exceeded_bound(bytes(content[:end]), LIMITS)
    assert found is None or isinstance(found, Failure)
