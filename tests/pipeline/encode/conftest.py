from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.encode.served_models import IMAGE_SPACE, Served, serve
from tests.pipeline.encode.small_models import build_model, build_network, photos


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def served_images(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("images")
    model = build_network(folder / "pristine/resnet18.safetensors").parent
    return serve(folder, IMAGE_SPACE, photos(folder), model)
