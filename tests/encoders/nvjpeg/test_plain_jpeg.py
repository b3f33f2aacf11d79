"""Which files may be decoded by another decoder than Pillow: no file that Pillow would judge."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from commonspace.encoders.image.image_file import UprightImage, read_image
from commonspace.encoders.image.probes import image_probes
from commonspace.encoders.nvjpeg.plain_jpeg import plain_jpeg

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((96, 64))


def jpeg(image: Image.Image = PHOTO, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def several_pictures() -> bytes:
    file = io.BytesIO()
    PHOTO.save(file, "MPO", save_all=True, append_images=[PHOTO.rotate(9)])
    return file.getvalue()


PLAIN = {
    "4:4:4": jpeg(subsampling="4:4:4"),
    "4:2:2": jpeg(subsampling="4:2:2"),
    "4:2:0": jpeg(subsampling="4:2:0"),
    "progressive": jpeg(progressive=True, quality=95),
    "grey": jpeg(PHOTO.convert("L")),
    "progressive and grey": jpeg(PHOTO.convert("L"), progressive=True),
    "restarts": jpeg(restart_marker_blocks=2),
    "a comment": jpeg(comment=b"\xff\xd9 no end"),
    "turned": jpeg(exif=turned(6)),
    "mirrored": jpeg(exif=turned(2)),
    "no such orientation": jpeg(exif=turned(11)),
    "more behind it": jpeg() + b"trailer",
    "filled up": jpeg().replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_have_pillows_facts(name: str) -> None:
    content = PLAIN[name]
    file, read = plain_jpeg(content), read_image(content)
    assert file is not None
    assert isinstance(read, UprightImage)
    assert file.facts == read.facts
    assert (file.width, file.height) == (96, 64)
    assert content[file.end - 2 : file.end] == b"\xff\xd9"
    assert file.end == len(content) - (7 if name == "more behind it" else 0)


def changed(marker: bytes, offset: int, value: int) -> bytes:
    """A plain JPEG with another byte so far behind a marker."""
    content = bytearray(jpeg())
    content[content.index(marker) + offset] = value
    return bytes(content)


NOT_PLAIN: dict[str, object] = {
    "nothing": b"",
    "a text": "photo.jpg",
    "no picture": b"\xff\xd8\xff\xd9",
    "CMYK": jpeg(PHOTO.convert("CMYK")),
    "RGB": jpeg(keep_rgb=True),
    "several pictures": several_pictures(),
    "a strip": jpeg(PHOTO.resize((1200, 8))),
    "a pixel": jpeg(PHOTO.resize((4, 4))),
    "12 bits": changed(b"\xff\xc0", 4, 12),
    "lossless": changed(b"\xff\xc0", 1, 0xC3),
    "arithmetic": changed(b"\xff\xc0", 1, 0xC9),
    "extended": changed(b"\xff\xc0", 1, 0xC1),
    "odd sampling": changed(b"\xff\xc0", 11, 0x31),
    "two channels": changed(b"\xff\xc0", 9, 2),
    "no Huffman table": changed(b"\xff\xc4", 1, 0xFE).replace(b"\xff\xc4", b"\xff\xfe"),
    "no quantisation": jpeg().replace(b"\xff\xdb", b"\xff\xfe"),
    "no end": jpeg()[:-2],
    "a longer header than the file": changed(b"\xff\xe0", 2, 0xFF),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_whatever_is_not_plain_is_pillows(name: str) -> None:
    assert plain_jpeg(NOT_PLAIN[name]) is None


@pytest.mark.parametrize("name", ["4:2:0", "progressive", "grey", "restarts"])
def test_a_file_cut_anywhere_is_pillows(name: str) -> None:
    whole = PLAIN[name]
    assert not any(plain_jpeg(whole[:cut]) for cut in range(len(whole)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(PLAIN)), st.data())
def test_a_damaged_file_is_read_or_left_to_pillow(name: str, data: st.DataObject) -> None:
    content = bytearray(PLAIN[name])
    headers = content.index(b"\xff\xda") + 14
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, headers) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    file = plain_jpeg(bytes(content))
    read = read_image(bytes(content))
    if file is not None:
        assert isinstance(read, UprightImage), read
        assert file.facts == read.facts


def test_the_canary_sees_what_another_decoder_makes() -> None:
    plain = [plain_jpeg(probe) for probe in image_probes()]
    assert sum(file is not None for file in plain) == 11  # every JPEG but the CMYK one


def test_photos_are_plain_and_hostile_files_are_not(shared: Path) -> None:
    photos = sorted((shared / "data/photos-imagenette").glob("*.JPEG"))[::40]
    plain = [plain_jpeg(path.read_bytes()) is not None for path in photos]
    assert len(plain) > 10
    assert np.mean(plain) > 0.95
    hostile = [path for path in (shared / "data/hostile").rglob("*") if path.is_file()]
    for path in hostile:
        content = path.read_bytes()
        if plain_jpeg(content) is not None:
            assert isinstance(read_image(content), UprightImage), path
