"""Weights files that fit, and those that are refused."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path

import pytest

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.reference import EncoderReference
from tests.support.file_server import Fault, file_server

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from commonspace.encoders.torchvision.state_dict import load_state_dict_file

pytestmark = pytest.mark.models


@pytest.fixture
def resnet18_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state: dict[str, torch.Tensor] = torchvision.models.resnet18().state_dict()
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


def test_torchvisions_own_weights_are_downloaded_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(7)
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "w.pth")
    body = (tmp_path / "w.pth").read_bytes()
    path = f"/models/mobilenet_v3_small-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    reference = EncoderReference("torchvision/mobilenet_v3_small", "image", weights="IMAGENET1K_V1")
    weights = torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1.value
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with file_server() as server:
        monkeypatch.setattr(weights, "url", server.address + path)
        server.files[path] = body[:-1] + b"x"
        with pytest.raises(WeightsRefused, match="another file: its sha256 begins with"):
            describe(reference)
        server.files[path] = body
        server.faults[path] = [Fault(1_000_000)]
        assert load(reference).spec.trained
        assert server.bodies_asked(path) == [None, None, "bytes=1000000-"]
        (kept,) = (tmp_path / "torch").rglob("*.pth")
        kept.write_bytes(body[:-1] + b"x")
        with pytest.raises(WeightsRefused, match="not the one in its name"):
            describe(reference)


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


def test_the_old_names_of_densenets_files_are_read(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = torchvision.models.densenet121().state_dict()
    # As torchvision's own file has it, with the names of PyTorch 0.3 and no counters.
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): tensor
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "old.pth")
    torch.save(state, tmp_path / "new.pth")
    networks = [torchvision.models.densenet121() for _ in range(2)]
    for network, name in zip(networks, ("old.pth", "new.pth"), strict=True):
        load_state_dict_file(network, tmp_path / name, "densenet121")
        assert all(torch.equal(t, state[key]) for key, t in network.state_dict().items())
    del old["features.conv0.weight"]
    torch.save(old, tmp_path / "less.pth")
    assert "1 missing (features.conv0.weight)" in refused(tmp_path / "less.pth", "densenet121")


def test_weights_that_give_no_vectors_are_refused(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    state["layer4.1.bn2.weight"] = torch.full_like(state["layer4.1.bn2.weight"], float("nan"))
    torch.save(state, tmp_path / "nan.pth")
    assert "the vector's norm is nan" in refused(tmp_path / "nan.pth")
