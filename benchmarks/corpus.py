"""What is encoded: real prose of a realistic mix of lengths, and photos of one size.

Nothing is downloaded: the prose is the documentation of installed packages, the photos those
that scikit-image and scikit-learn ship, cropped, mirrored and shaded so that each is a file of
its own.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from commonspace.pipeline.cli.demo.samples import PHOTOS, installed_path, write_texts

MEAN_LOG_WORDS, SPREAD_LOG_WORDS = 3.1, 0.8
"""Log-normal lengths: 5 to over 200 tokens, 42 on average, 30 in the middle."""
SIZE = (1000, 750)


def texts(count: int, seed: int = 0) -> list[str]:
    """`count` pieces of prose, each from a place of its own; the same for the same seed."""
    import json

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        write_texts(path)
        lines = path.read_text(encoding="utf-8").splitlines()
    words = " ".join(json.loads(line)["text"] for line in lines).split()
    random = np.random.default_rng(seed)
    lengths = np.exp(random.normal(MEAN_LOG_WORDS, SPREAD_LOG_WORDS, count)).astype(int)
    starts = random.integers(0, len(words) - 400, count)
    return [
        " ".join(words[start : start + int(np.clip(length, 3, 160))])
        for start, length in zip(starts, lengths, strict=True)
    ]


def photos(count: int, seed: int = 0) -> list[bytes]:
    """`count` JPEG files of 1000 x 750, quality 87, 4:2:0."""
    random = np.random.default_rng(seed)
    opened = []
    for place, names in PHOTOS.items():
        for name in names:
            with Image.open(installed_path(place) / name) as image:
                opened.append(image.convert("RGB"))
    return [_variant(opened[n % len(opened)], random) for n in range(count)]


def _variant(photo: Image.Image, random: np.random.Generator) -> bytes:
    share = float(random.uniform(0.6, 1.0))
    width = photo.width * share
    height = min(width * SIZE[1] / SIZE[0], photo.height)
    left = float(random.uniform(0, photo.width - width))
    top = float(random.uniform(0, photo.height - height))
    variant = photo.resize(
        SIZE, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
    )
    if random.random() < 0.5:
        variant = ImageOps.mirror(variant)
    variant = ImageEnhance.Brightness(variant).enhance(float(random.uniform(0.7, 1.3)))
    file = io.BytesIO()
    variant.save(file, "JPEG", quality=87, subsampling="4:2:0")
    return file.getvalue()
