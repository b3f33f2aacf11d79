from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoders.catalog import describe, load
from encoders.errors import WeightsRefused
from encoders.protocol import Content, Encoder
from encoders.reference import EncoderReference

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision.models")


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_pixels_are_prepared_as_torchvision_prepares_them(shared: Path, weights: str) -> None:
    from PIL import Image

    from encoders.image import prepared_pixels
    from encoders.resnet_weights import _preset

    theirs = models.ResNet50_Weights[weights].transforms()
    preset = _preset("resnet50", weights)
    for path in sorted((shared / "data/photos-captioned/images").iterdir())[:8]:
        image = Image.open(path).convert("RGB")
        assert torch.equal(prepared_pixels(image, preset), theirs(image))


def test_local_weights_are_prepared_like_torchvisions_first(
    reference: Callable[[str], EncoderReference],
) -> None:
    from encoders.resnet_weights import _preset

    local = describe(reference("resnet18 local")).preprocessing
    assert _preset("resnet18", "IMAGENET1K_V1").items() <= local.items()


def test_vectors_are_the_networks_own_features(
    loaded: Callable[[str], Encoder], reference: Callable[[str], EncoderReference],
    contents: dict[str, list[Content]],
) -> None:  # fmt: skip
    import io

    from PIL import Image
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
    np.testing.assert_allclose(
        loaded("resnet18 local").encode(list(files)).vectors, expected, atol=1e-6
    )


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


@pytest.fixture
def resnet18_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state: dict[str, torch.Tensor] = models.resnet18().state_dict()
    return state


def refused(path: Path, architecture: str = "resnet18") -> str:
    name = f"torchvision/{architecture}"
    with pytest.raises(WeightsRefused) as caught:
        load(EncoderReference(name, "image", weights=str(path)))
    return str(caught.value)


def test_weights_of_another_architecture(
    resnet18_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save(resnet18_state, path)
    assert "another architecture" in refused(path, "resnet34")
    assert "another architecture" in refused(path, "resnet50")


def test_weights_with_a_tensor_missing_or_too_many(
    resnet18_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    without = {k: v for k, v in resnet18_state.items() if k != "layer1.0.conv1.weight"}
    torch.save(without, path)
    assert "1 missing (layer1.0.conv1.weight)" in refused(path)
    torch.save(resnet18_state | {"more": torch.zeros(1)}, path)
    assert "1 unexpected (more)" in refused(path)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch pickle-was-run",)


def test_a_pickle_with_code_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.bias": Payload()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Payload()))
    for path in (tmp_path / "zip.pth", tmp_path / "plain.pth"):
        assert "cannot be opened" in refused(path)
    assert not (tmp_path / "pickle-was-run").exists()


def test_cut_weights(shared: Path, tmp_path: Path) -> None:
    for path in (shared / "data/hostile/weights").iterdir():
        assert "cannot be opened" in refused(path, path.name.partition("-")[0])
    whole = (shared / "models/image/resnet18.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-1])
    assert "cut off" in refused(tmp_path / "cut.safetensors")


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
