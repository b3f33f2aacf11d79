"""The probes are fixed, all different, and of every kind that a rule or a setting looks at."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders import catalog
from commonspace.encoders.image.image_file import FORMATS, UprightImage, read_image
from commonspace.encoders.protocol import Encoder


@pytest.mark.parametrize("modality", ["text", "image"])
def test_there_are_32_and_they_are_the_same_every_time(
    modality: Literal["text", "image"],
) -> None:
    probes = catalog.probes(modality)
    assert len(probes) == len(set(probes)) == 32
    assert catalog.probes(modality) == probes
    assert {type(probe) for probe in probes} == {str if modality == "text" else bytes}


def test_texts_are_nfc_and_of_many_kinds() -> None:
    texts = [str(probe) for probe in catalog.probes("text")]
    assert all(unicodedata.is_normalized("NFC", text) for text in texts)
    assert len({text.casefold() for text in texts}) == 30, "one sentence stands in three cases"
    named = "".join(unicodedata.name(c, "unnamed").split()[0] + " " for text in texts for c in text)
    for script in ("LATIN", "CYRILLIC", "GREEK", "CJK", "HIRAGANA", "HANGUL", "ARABIC",
                   "DEVANAGARI", "DIGIT", "REGIONAL"):  # fmt: skip
        assert f"{script} " in named, script
    assert min(map(len, texts)) < 8
    assert max(len(text.split()) for text in texts) > 500


def test_images_are_in_every_format_and_meet_every_rule() -> None:
    formats, modes, rules = set(), set(), set()
    for probe in catalog.probes("image"):
        image = read_image(probe)
        assert isinstance(image, UprightImage), image
        formats.add(image.facts["image_format"])
        modes.add(image.facts["image_mode"])
        rules.update(str(image.facts["image_rules"]).split(","))
    assert formats == set(FORMATS)
    assert modes >= {"RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"}
    assert rules >= {"exif-transpose", "first-frame", "grey16-to-8", "alpha-on-white",
                     "cmyk-to-rgb", "p-to-rgb", "l-to-rgb", "1-to-rgb"}  # fmt: skip


def test_one_image_is_large_enough_to_be_decoded_at_a_reduced_scale() -> None:
    sizes = [Image.open(io.BytesIO(bytes(p))).size for p in catalog.probes("image")]  # type: ignore[arg-type]
    assert max(min(size) for size in sizes) >= 4 * 256
    assert min(min(size) for size in sizes) <= 16


@pytest.mark.parametrize("name", ["hashed text", "hashed image", "minilm", "resnet18 local"])
def test_every_encoder_has_a_vector_for_every_probe(
    loaded: Callable[[str], Encoder], name: str
) -> None:
    encoder = loaded(name)
    encoded = encoder.encode(catalog.probes(encoder.spec.modality))
    assert encoded.failures == {}
    apart = 1 - encoded.vectors @ encoded.vectors.T + np.eye(32)
    assert np.count_nonzero(apart < 1e-6) <= 6, "but for letter case, they tell things apart"
