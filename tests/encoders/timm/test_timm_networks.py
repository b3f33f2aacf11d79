"""Networks of timm, of ten families and more: what timm itself computes of the same images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.vectors import largest_angle
from tests.support.other_process import fingerprint_elsewhere

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from commonspace.encoders.image.crops import crop_image
from commonspace.encoders.timm.image_settings import image_settings
from commonspace.encoders.timm.network import measure_facts

pytestmark = pytest.mark.models

NETWORKS = [
    *("convnext_atto", "deit_tiny_distilled_patch16_224", "edgenext_xx_small", "levit_128s"),
    *("mixer_s32_224", "mobilenetv3_small_050", "mobilevit_xxs", "regnetx_002", "resnet18"),
    *("swin_tiny_patch4_window7_224", "tf_efficientnet_lite0", "vit_tiny_patch16_224"),
]
QUICK = {"convnext_atto", "mobilenetv3_small_050", "resnet18", "vit_tiny_patch16_224"}


def untrained(network: str, **options: str) -> EncoderReference:
    return EncoderReference(f"timm/{network}", "image", weights="untrained", **options)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.quality) for n in NETWORKS]
)
def test_a_network_gives_the_input_of_its_classifier(
    name: str, contents: dict[str, list[Content]]
) -> None:
    encoder = load(untrained(name))
    files = contents["image"][:3]
    together = encoder.encode(files).vectors
    assert together.shape == (3, encoder.spec.dim)
    np.testing.assert_array_equal(encoder.encode(files[1:2]).vectors, together[1:2])
    np.testing.assert_array_equal(encoder.encode(files[::-1]).vectors, together[::-1])

    torch.manual_seed(0)
    network = timm.create_model(name).eval()
    taken = _inputs_of_classifier(network, _crops(files, encoder))
    expected = torch.nn.functional.normalize(taken, dim=1, eps=1e-30).numpy()
    assert largest_angle(together, expected) < 1e-4


def _inputs_of_classifier(network: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """What the classifier is given; where there are two, which vote, their mean."""
    classifier = network.get_classifier()
    parts = classifier if isinstance(classifier, tuple) else (classifier,)
    taken: list[torch.Tensor] = []
    for part in parts:
        linear = [m for m in part.modules() if isinstance(m, torch.nn.Linear)][-1]
        linear.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].clone()))
    with torch.inference_mode():
        network(pixels)
    assert len(taken) == len(parts)
    return torch.stack(taken).mean(dim=0)


def _crops(files: list[Content], encoder: Encoder) -> torch.Tensor:
    settings = encoder.spec.preprocessing
    images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]  # type: ignore[arg-type]
    levels = torch.from_numpy(np.stack([crop_image(image, settings) for image in images]))
    mean, std = (torch.tensor(settings[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (levels.permute(0, 3, 1, 2) / 255 - mean) / std


@pytest.mark.parametrize(
    "name",
    ["resnet18", "tf_efficientnet_lite0", "mobilevit_xxs", "vit_base_patch16_siglip_256",
     "vit_small_patch14_dinov2", "convnextv2_nano.fcmae_ft_in22k_in1k_384", "inception_v3"],
)  # fmt: skip
def test_images_are_prepared_as_timm_prepares_them(name: str) -> None:
    facts = measure_facts(name)
    settings = image_settings(facts.data_config, name)
    with torch.device("meta"):
        network = timm.create_model(name)
    theirs = timm.data.create_transform(
        **timm.data.resolve_model_data_config(network), is_training=False
    )
    mean, std = (np.array(settings[key])[:, None, None] for key in ("mean", "std"))
    for seed, size in enumerate([(640, 480), (333, 500), (90, 64)]):
        coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        expected = (theirs(image).numpy() * std + mean).transpose(1, 2, 0) * 255
        difference = np.abs(crop_image(image, settings) - expected)
        assert difference.max() < 2.01
        assert (difference > 0.5).mean() < 0.02


def test_a_network_that_is_known_is_described_without_timm_or_torch() -> None:
    reference = untrained("mobilenetv3_small_050")
    spec = describe(reference)
    assert (spec.dim, spec.layer, spec.trained) == (1024, "penultimate", False)
    assert spec.weights == f"untrained:seed=0,timm={timm.__version__},torch={_torch_version()}"
    assert fingerprint_elsewhere(reference, without=("torch", "timm")) == spec.fingerprint


def _torch_version() -> str:
    return str(torch.__version__).partition("+")[0]


def test_half_precision_and_another_network_are_other_specs() -> None:
    prints = {
        describe(reference).fingerprint
        for reference in (
            untrained("resnet18"),
            untrained("resnet18", precision="fp16"),
            untrained("resnet18", decoder="nvjpeg"),
            untrained("resnet18.tv_in1k"),
            untrained("resnet34"),
        )
    }
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet81", "no network of this name\n.*resnet18"),
        ("resnet18.best", "no weights 'best' of this network\n.*resnet18.a1_in1k"),
        ("vit_base_patch16_sapiens2", "images of 3 × 1024 × 768"),
        ("deepseek_vit_412m", "crop_mode 'border'"),
    ],
)
def test_what_cannot_be_is_said_in_words(name: str, said: str) -> None:
    with pytest.raises(EncoderNotFound, match=f"(?s){said}"):
        describe(untrained(name))
