"""Weights for networks of timm: whole ones, older ones, and those that are refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.reference import EncoderReference

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
safetensors = pytest.importorskip("safetensors.torch")

from commonspace.encoders.timm.network import load_network
from commonspace.encoders.timm.package_weights import KNOWN
from tests.support.file_server import FileServer

pytestmark = pytest.mark.models


def saved(path: Path, name: str, classes: int = 1000, **changes: torch.Tensor | None) -> Path:
    """A file of random weights, with tensors added, or left out where they are None."""
    torch.manual_seed(5)
    state = timm.create_model(name, num_classes=classes).state_dict() | changes
    safetensors.save_file({k: t for k, t in state.items() if t is not None}, path)
    return path


def refused(path: Path, name: str) -> str:
    with pytest.raises(WeightsRefused) as caught:
        load(EncoderReference(f"timm/{name}", "image", weights=str(path)))
    return str(caught.value)


def test_a_file_of_any_number_of_classes(
    tmp_path: Path, contents: dict[str, list[Content]]
) -> None:
    path = saved(tmp_path / "w.safetensors", "mobilenetv3_small_050", classes=7)
    reference = EncoderReference("timm/mobilenetv3_small_050", "image", weights=str(path))
    encoder = load(reference)
    assert encoder.spec.trained
    untrained = load(EncoderReference(reference.name, "image", weights="untrained"))
    files = contents["image"][:2]
    assert not np.allclose(encoder.encode(files).vectors, untrained.encode(files).vectors)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    saved(path, "resnet18", **{"layer1.0.conv1.weight": None})
    assert "1 missing (layer1.0.conv1.weight)" in refused(path, "resnet18")
    saved(path, "resnet18", more=torch.zeros(1))
    assert "1 unexpected (more)" in refused(path, "resnet18")
    saved(path, "resnet18")
    assert "another architecture than resnet34" in refused(path, "resnet34")
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut off" in refused(path, "resnet18")


def test_older_names_are_timms_to_convert(tmp_path: Path) -> None:
    path, index = tmp_path / "w.safetensors", "stages.0.blocks.0.attn.attention_bias_idxs"
    saved(path, "levit_128s", **{index: torch.zeros(4, dtype=torch.int64)})
    network, _ = load_network("levit_128s", path, None)
    torch.manual_seed(5)
    expected = timm.create_model("levit_128s").state_dict()
    assert all(torch.equal(t, expected[k]) for k, t in network.network.state_dict().items())
    saved(path, "levit_128s", **{index: torch.zeros(4), "stem.conv1.linear.weight": None})
    assert "1 missing (stem.conv1.linear.weight)" in refused(path, "levit_128s")


def test_no_weight_stays_random_where_timm_would_let_it(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for left_out in ("base_layer.0.weight", "level2.tree1.bn1.running_var"):
        saved(path, "dla34", **{left_out: None})
        assert f"1 missing ({left_out})" in refused(path, "dla34")


def hub_model(hub: FileServer, weights: Path, name: str, revision: str, **config: object) -> None:
    described = {"architecture": name.partition(".")[0], "pretrained_cfg": {"crop_pct": 0.5}}
    files = {"config.json": json.dumps(described | config).encode(),
             "model.safetensors": weights.read_bytes(), "pytorch_model.bin": b"never"}  # fmt: skip
    hub.add_model(f"timm/{name}", revision, files)


def test_weights_on_the_hub_are_pinned_and_say_how_images_are_prepared(
    hub: FileServer, tmp_path: Path, contents: dict[str, list[Content]]
) -> None:
    name, revision = "mobilenetv3_small_050.lamb_in1k", "a" * 40
    path = saved(tmp_path / "w.safetensors", name)
    hub_model(hub, path, name, revision)
    on_hub = load(EncoderReference(f"timm/{name}", "image", revision=revision))
    local = load(EncoderReference(f"timm/{name}", "image", weights=str(path)))
    assert on_hub.spec.weights == local.spec.weights
    prepared = on_hub.spec.preprocessing
    assert (prepared["resize"], prepared["crop"]) == (448, 224)
    assert {**prepared, "resize": 256} == local.spec.preprocessing
    files = contents["image"][:2]
    assert not np.allclose(on_hub.encode(files).vectors, local.encode(files).vectors)


@pytest.mark.parametrize(
    ("config", "said"),
    [({"architecture": "resnet18"}, "weights of 'resnet18' under this name"),
     ({"model_args": {"global_pool": "max"}}, "arguments of its own.*global_pool")],
)  # fmt: skip
def test_what_the_hub_has_under_a_name_and_cannot_be_built(
    config: dict[str, object], said: str, hub: FileServer, tmp_path: Path
) -> None:
    path = saved(tmp_path / "w.safetensors", "mobilenetv3_small_050")
    revision = hashlib.sha1(said.encode()).hexdigest()
    hub_model(hub, path, "mobilenetv3_small_050", revision, **config)
    with pytest.raises(WeightsRefused, match=said):
        describe(EncoderReference("timm/mobilenetv3_small_050", "image", revision=revision))


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pickle-was-run",)


def test_a_pickle_with_code_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.bias": Payload()}, tmp_path / "w.pth")
    assert "cannot be opened" in refused(tmp_path / "w.pth", "resnet18")
    assert not (tmp_path / "pickle-was-run").exists()


def test_the_weights_in_a_package_are_those_that_are_known(
    loaded: Callable[[str], Encoder], reference: Callable[[str], EncoderReference],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    lite0 = reference("lite0")
    (module,) = KNOWN
    assert loaded("lite0").spec.weights == f"sha256:{KNOWN[module].sha256}"
    with pytest.raises(EncoderNotFound, match=r"of another network\n.*timm/tf_efficientnet_lite0"):
        describe(EncoderReference("timm/resnet18", "image", weights=lite0.weights))

    (tmp_path / module / "models").mkdir(parents=True)
    (tmp_path / module / "__init__.py").write_text("raise SystemExit('its code was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WeightsRefused, match="other weights than those that are known"):
        describe(lite0)
    torch.save({"_fc.bias": torch.zeros(1)}, tmp_path / module / KNOWN[module].file)
    with pytest.raises(WeightsRefused, match="other weights than those that are known"):
        describe(lite0)


def test_every_tensor_of_the_package_has_a_name_and_shape_of_timms(
    reference: Callable[[str], EncoderReference],
) -> None:
    reference("lite0")
    from commonspace.encoders.image_network.state_dict import read_state_dict
    from commonspace.encoders.timm.package_weights import find_package_weights

    for module, known in KNOWN.items():
        path, _ = find_package_weights(f"package:{module}", f"timm/{known.network}")
        state = read_state_dict(path)
        with torch.device("meta"):
            expected = timm.create_model(known.network).state_dict()
        renamed = {known.timm_name(key): tensor.shape for key, tensor in state.items()}
        assert renamed == {key: tensor.shape for key, tensor in expected.items()}
        assert len(renamed) == len(state) == 296


def test_kept_facts_that_are_wrong_are_found_when_the_network_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONSPACE_CACHE", str(tmp_path))
    reference = EncoderReference("timm/mobilenetv3_small_050", "image", weights="untrained")
    spec = describe(reference)
    (kept,) = tmp_path.rglob("*.json")
    for damage in ("", "[]", '{"dim": "x"}', '{"dim": 3}'):
        kept.write_text(damage)
        assert describe(reference) == spec
    facts = json.loads(kept.read_text())
    facts["data_config"]["mean"] = [0.5, 0.5, 0.5]
    kept.write_text(json.dumps(facts))
    with pytest.raises(WeightsRefused, match="something else of the network") as caught:
        load(reference)
    assert caught.value.retry
    assert load(reference).spec == spec
    shutil.rmtree(tmp_path)
    tmp_path.touch()  # nothing can be kept here
    assert describe(reference) == spec
