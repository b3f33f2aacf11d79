"""Every classification network of torchvision, at its penultimate layer or an earlier one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import TOLERANCE
from commonspace.encoders.torchvision.architectures import NETWORKS
from commonspace.encoders.vectors import largest_angle

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from commonspace.encoders.torchvision.network import measure_dim
from commonspace.encoders.torchvision.spec import preprocessing_of

pytestmark = pytest.mark.models

SMALLEST = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf"),
    *("regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "swin_t"),
    *("swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2"),
]
"""One of each family that has a penultimate layer."""
QUICK = {"mobilenet_v3_small", "resnext50_32x4d", "wide_resnet50_2", "efficientnet_b0"}


def untrained(architecture: str, **options: str) -> EncoderReference:
    return EncoderReference(f"torchvision/{architecture}", "image", weights="untrained", **options)


def refusal(reference: EncoderReference) -> str:
    with pytest.raises(EncoderNotFound) as caught:
        describe(reference)
    return str(caught.value)


def test_the_names_are_torchvisions() -> None:
    listed = torchvision.models.list_models(module=torchvision.models)
    assert sorted(NETWORKS) == sorted(listed)


@pytest.mark.parametrize(
    "architecture",
    [a if a in QUICK else pytest.param(a, marks=pytest.mark.quality) for a in SMALLEST],
)
def test_a_network_gives_the_input_of_its_last_linear_layer(
    architecture: str, contents: dict[str, list[Content]]
) -> None:
    reference = untrained(architecture)
    encoder = load(reference)
    assert encoder.spec == describe(reference)
    files = contents["image"][:3]
    together = encoder.encode(files).vectors
    assert together.shape == (3, encoder.spec.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode(files[1:2]).vectors, together[1:2])

    network = _whole(architecture, encoder.spec.preprocessing["crop"])
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)][-1]
    taken: list[torch.Tensor] = []
    linear.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].clone()))
    with torch.inference_mode():
        network(_pixels(files, encoder))
    expected = torch.nn.functional.normalize(taken[0], dim=1, eps=1e-30).numpy()
    assert largest_angle(together, expected) < 1e-4


def _whole(architecture: str, crop: int) -> torch.nn.Module:
    """The network with its classifier, and the weights that `untrained` means."""
    from commonspace.encoders.torchvision.network import build_network

    torch.manual_seed(0)
    return build_network(architecture, crop).eval()


def _pixels(files: list[Content], encoder: Encoder) -> torch.Tensor:
    from commonspace.encoders.image.crops import crop_image
    from commonspace.encoders.image.image_file import UprightImage, read_image

    preset = encoder.spec.preprocessing
    images = [read_image(file) for file in files]
    crops = [crop_image(i.pixels, preset) for i in images if isinstance(i, UprightImage)]
    levels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(preset[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (levels / 255 - mean) / std


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3", "layer4", "layer2.1.conv1"])
@pytest.mark.parametrize("pooling", [None, "average", "max"])
def test_an_earlier_layer_is_its_pooled_map(
    layer: str, pooling: str | None, reference: Callable[[str], EncoderReference],
    contents: dict[str, list[Content]],
) -> None:  # fmt: skip
    local = reference("resnet18 local")
    options = {"weights": local.weights, "layer": layer, "pooling": pooling}
    encoder = load(EncoderReference(local.name, "image", **options))  # type: ignore[arg-type]
    assert (encoder.spec.layer, encoder.spec.pooling) == (layer, pooling or "average")
    files = contents["image"][:2]
    network = torchvision.models.resnet18()
    from safetensors.torch import load_file

    network.load_state_dict(load_file(str(local.weights)), strict=False)
    network.eval()
    taken: list[torch.Tensor] = []
    network.get_submodule(layer).register_forward_hook(lambda *got: taken.append(got[2].clone()))
    with torch.inference_mode():
        network(_pixels(files, encoder))
    pooled = taken[0].amax((2, 3)) if pooling == "max" else taken[0].mean((2, 3))
    expected = torch.nn.functional.normalize(pooled, dim=1).numpy()
    assert encoder.spec.dim == expected.shape[1]
    assert largest_angle(encoder.encode(files).vectors, expected) < 1e-4


@pytest.mark.parametrize(
    ("architecture", "layer", "dim"),
    [("squeezenet1_1", "features.12", 512), ("vgg11", "features.7", 256),
     ("swin_t", "permute", 768), ("densenet121", "features.denseblock3", 1024)],
)  # fmt: skip
def test_a_layer_of_any_network(architecture: str, layer: str, dim: int) -> None:
    spec = describe(untrained(architecture, layer=layer))
    assert (spec.layer, spec.pooling, spec.dim) == (layer, "average", dim)


def test_a_network_without_a_penultimate_layer_can_be_loaded_by_layer(
    contents: dict[str, list[Content]],
) -> None:
    encoder = load(untrained("squeezenet1_1", layer="features.12", pooling="max"))
    assert encoder.encode(contents["image"][:2]).vectors.shape == (2, 512)


@pytest.mark.parametrize("architecture", [a for a in NETWORKS if a.endswith(("18", "50_2", "4d"))])
def test_the_table_of_resnets_is_what_the_networks_have(architecture: str) -> None:
    for layer in (None, "layer1", "layer3", "layer4"):
        spec = describe(untrained(architecture, **({"layer": layer} if layer else {})))
        assert spec.dim == measure_dim(architecture, spec.layer, spec.pooling, 64)


@pytest.mark.quality
@pytest.mark.parametrize("architecture", [n for n in NETWORKS if "squeezenet" not in n])
def test_every_network_can_be_described(architecture: str) -> None:
    spec = describe(untrained(architecture))
    assert 400 <= spec.dim <= 7392
    first = next(iter(torchvision.models.get_model_weights(architecture))).name
    assert preprocessing_of(architecture, first).items() <= spec.preprocessing.items()


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (untrained("squeezenet1_0"), "no penultimate layer.*features.12"),
        (untrained("resnet18", layer="layr3"), "no layer 'layr3'\n.*layer3"),
        (untrained("vgg11", layer="fc"), "no layer 'fc'\n.*features.20"),
        (untrained("resnet18", layer="fc"), "no map to pool: its output is 1000"),
        (untrained("swin_t", layer="features.7"), "7 × 7 × 768, not channels"),
        (untrained("vit_b_32", layer="encoder"), "50 × 768"),
        (untrained("resnet18", pooling="max"), "penultimate layer has none"),
        (untrained("resnet18", layer="penultimate", pooling="average"), "Remove `pooling`"),
        (untrained("resnet18", layer="layer3", pooling="gem"), "no pooling 'gem'"),
        (untrained("resnet18", precision="int8"), "fp32, fp16 or bf16"),
        (untrained("resnet18", dimensions="8"), "takes no dimensions"),
        (
            EncoderReference("torchvision/vgg11", "image", weights="IMAGENET1K_V9"),
            "no weights IMAGENET1K_V9\n.*IMAGENET1K_V1",
        ),
    ],
)
def test_what_cannot_be_is_said_in_words(reference: EncoderReference, said: str) -> None:
    with pytest.raises(EncoderNotFound, match=f"(?s){said}"):
        describe(reference)


def test_half_precision_is_a_spec_of_its_own_that_a_cpu_computes_in_full(
    loaded: Callable[[str], Encoder], contents: dict[str, list[Content]]
) -> None:
    full, half = loaded("resnet18 untrained"), load(untrained("resnet18", precision="fp16"))
    assert (half.spec.precision, half.spec.tolerance) == ("fp16", TOLERANCE["fp16"])
    assert half.spec.fingerprint != full.spec.fingerprint
    files = contents["image"][:2]
    np.testing.assert_array_equal(half.encode(files).vectors, full.encode(files).vectors)


def test_torch_and_openvino_agree(
    loaded: Callable[[str], Encoder], contents: dict[str, list[Content]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("COMMONSPACE_ENGINE", "torch")
    by_torch = load(untrained("resnet18"))
    by_openvino = loaded("resnet18 untrained")
    assert by_torch.engine.startswith("torch 2.")  # type: ignore[attr-defined]
    assert by_openvino.engine.startswith("openvino 20")  # type: ignore[attr-defined]
    files = contents["image"][:8]
    found = by_torch.encode(files).vectors
    assert largest_angle(found, by_openvino.encode(files).vectors) < 1e-4
    np.testing.assert_array_equal(by_torch.encode(files[3:4]).vectors, found[3:4])


def test_resnets_are_described_without_torch(
    reference: Callable[[str], EncoderReference],
) -> None:
    names = ["resnet18", "resnet152", "resnext101_64x4d", "wide_resnet50_2"]
    script = (
        "import sys; from commonspace.encoders.catalog import describe\n"
        "from commonspace.encoders.reference import EncoderReference as R\n"
        f"for name in {names!r}:\n"
        "    for layer in (None, 'layer1', 'layer4'):\n"
        "        print(describe(R(f'torchvision/{name}', 'image', weights='untrained',\n"
        "                         layer=layer)).dim)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dims = [int(line) for line in done.stdout.split()]
    assert dims == [512, 64, 512, 2048, 256, 2048, 2048, 256, 2048, 2048, 256, 2048]
