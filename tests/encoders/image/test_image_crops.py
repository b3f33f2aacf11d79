"""Decoded images become the crops that torchvision's own transforms make of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.image.image_file import UprightImage, read_image
from commonspace.encoders.image.pillow_pixels import rgbx_pixels

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision.models")

from commonspace.encoders.image.crops import crop_image
from commonspace.encoders.torchvision.spec import preprocessing_of


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(640, 480), (9, 17), (1, 1), (2100, 2100)])
def test_the_memory_of_an_image_outlives_it(size: tuple[int, int]) -> None:
    image = noise(*size)
    expected = np.array(image)
    pixels = rgbx_pixels(image)
    del image
    Image.new("RGB", size, "white").load()  # takes the memory, were it free
    np.testing.assert_array_equal(pixels[..., :3], expected)


@pytest.mark.parametrize(
    ("architecture", "weights", "levels", "share"),
    [
        ("resnet50", "IMAGENET1K_V1", 1, 0.01),
        ("resnet50", "IMAGENET1K_V2", 1, 0.01),
        ("efficientnet_b0", "IMAGENET1K_V1", 2, 0.02),
        ("efficientnet_b3", "IMAGENET1K_V1", 2, 0.02),
        ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1", 2, 0.02),
    ],
)
def test_crops_are_torchvisions_to_a_level_or_two(
    shared: Path, architecture: str, weights: str, levels: int, share: float
) -> None:
    theirs = models.get_model_weights(architecture)[weights].transforms()
    preset = preprocessing_of(architecture, weights)
    mean, std = (np.array(preset[key], dtype=np.float32)[:, None, None] for key in ("mean", "std"))
    for path in sorted((shared / "data/photos-captioned/images").iterdir())[:8]:
        image = Image.open(path).convert("RGB")
        ours = crop_image(image, preset)
        assert (ours.dtype, ours.shape) == (np.uint8, (preset["crop"], preset["crop"], 3))
        expected = (theirs(image).numpy() * std + mean).transpose(1, 2, 0) * 255
        difference = np.abs(ours - expected)
        assert difference.max() < levels + 0.01
        assert (difference > 0.5).mean() < share


@pytest.mark.parametrize("size", [(256, 256), (300, 256), (256, 511), (301, 257), (8, 800), (9, 8)])
def test_crops_lie_where_torchvisions_lie(size: tuple[int, int]) -> None:
    theirs = models.ResNet50_Weights.IMAGENET1K_V1.transforms(mean=(0, 0, 0), std=(1, 1, 1))
    image = noise(*size)
    expected = theirs(image).numpy().transpose(1, 2, 0) * 255
    ours = crop_image(image, preprocessing_of("resnet50", "IMAGENET1K_V1"))
    assert np.abs(ours - expected).max() < 1.01
    if min(size) == 256:
        np.testing.assert_array_equal(ours, expected.round())


@pytest.mark.parametrize("architecture", ["resnet18", "wide_resnet101_2", "resnext101_64x4d"])
def test_local_weights_are_prepared_like_torchvisions_first(architecture: str) -> None:
    first = next(iter(models.get_model_weights(architecture))).name
    assert preprocessing_of(architecture, None) == preprocessing_of(architecture, first)


def test_an_image_turned_by_exif_is_its_upright_twin(shared: Path) -> None:
    preset = preprocessing_of("resnet50", None)
    path = sorted((shared / "data/photos-captioned/images").iterdir())[0]
    upright = Image.open(path).convert("RGB")
    for orientation, turn in ((3, 180), (6, 90), (8, 270)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        upright.rotate(turn, expand=True).save(file, "PNG", exif=exif)
        turned = read_image(file.getvalue())
        assert isinstance(turned, UprightImage)
        np.testing.assert_array_equal(
            crop_image(turned.pixels, preset), crop_image(upright, preset)
        )
