"""A converted image network is kept: the next process builds none, and makes the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders.catalog import load
from commonspace.encoders.engines.selection import cuda_is_unavailable
from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.protocol import ImageLimits
from commonspace.encoders.reference import EncoderReference

pytestmark = pytest.mark.models

pytest.importorskip("torchvision")
pytest.importorskip("openvino")
from PIL import Image

DEVICE = "" if cuda_is_unavailable() else "cpu"
REFERENCE = EncoderReference("torchvision/resnet18", "image", weights="untrained")
SCRIPT = """
import sys
from pathlib import Path
from commonspace.encoders.catalog import load
from commonspace.encoders.protocol import ImageLimits
from commonspace.encoders.reference import EncoderReference
encoder = load(EncoderReference("torchvision/resnet18", "image", weights="untrained"))
print(encoder.encode([Path(sys.argv[1]).read_bytes()]).vectors.tobytes().hex())
assert not {"torchvision", "timm", "transformers"} & set(sys.modules)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMMONSPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COMMONSPACE_DEVICE", DEVICE)
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    levels = np.random.default_rng(0).integers(0, 256, (260, 300, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("photo") / "noise.png"
    Image.fromarray(levels).save(path)
    return path


def vector(photo: Path) -> str:
    return load(REFERENCE).encode([photo.read_bytes()]).vectors.tobytes().hex()


def test_the_second_process_builds_no_network(cache: Path, photo: Path) -> None:
    first = vector(photo)
    (kept,) = cache.iterdir()
    assert {path.name for path in kept.iterdir()} == {"network.xml", "network.bin", "record.json"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(photo)], capture_output=True, text=True, check=False,
        env=os.environ | {"COMMONSPACE_DEVICE": DEVICE},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == first


def test_what_is_damaged_is_made_anew(
    cache: Path, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setLevel("WARNING")
    first = vector(photo)
    (kept,) = cache.iterdir()
    whole = (kept / "network.bin").read_bytes()
    (kept / "network.bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert vector(photo) == first
    assert "network.bin is not the file that was written" in caplog.text
    assert (kept / "network.bin").read_bytes() == whole


def test_what_is_kept_has_the_limits_that_are_asked_for(cache: Path, photo: Path) -> None:
    vector(photo)
    assert len(list(cache.iterdir())) == 1
    strict = load(REFERENCE, image_limits=ImageLimits(pixels=1000, seconds=60))
    big = BytesIO()
    Image.new("RGB", (40, 40)).save(big, "PNG")
    assert 0 in strict.encode([big.getvalue()]).failures


def test_nothing_is_kept_of_files_that_changed_meanwhile(
    cache: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later processes would take it for the network that the spec names."""
    from dataclasses import replace

    from commonspace.encoders.torchvision import encoder, spec

    described = spec.describe_network(REFERENCE)
    monkeypatch.setattr(
        encoder, "describe_network", lambda _: replace(described, weights="sha256:of another file")
    )
    with pytest.raises(WeightsRefused, match="changed"):
        load(REFERENCE)
    assert not list(cache.iterdir())
