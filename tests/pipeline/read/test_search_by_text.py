"""A text finds a photo: a model that the libraries trained, encoded and searched by our own code.

Were our tokenisation, preprocessing, pooling or projection not theirs, no text would.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import commonspace
from commonspace.pipeline.errors import UserMistake
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220),
           "yellow": (240, 220, 40)}  # fmt: skip
SHAPES = ("circle", "square", "triangle")
KINDS = list(itertools.product(COLOURS, SHAPES))
EACH = 4
STEPS = 300


def drawing(rng: np.random.Generator, colour: str, shape: str) -> Image.Image:
    """A large shape near the middle of plain ground, 64 to 96 pixels a side."""
    width, height = (int(side) for side in rng.integers(64, 97, size=2))
    image = Image.new("RGB", (width, height), (int(rng.integers(100, 180)),) * 3)
    radius = int(min(width, height) * rng.uniform(0.36, 0.44))
    x, y = (length // 2 + int(rng.integers(-3, 4)) for length in (width, height))
    pencil, paint = ImageDraw.Draw(image), COLOURS[colour]
    if shape == "circle":
        pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=paint)
    elif shape == "square":
        pencil.rectangle((x - radius, y - radius, x + radius, y + radius), fill=paint)
    else:
        corners = [(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)]
        pencil.polygon(corners, fill=paint)
    return image


def caption(colour: str, shape: str) -> str:
    return f"a {colour} {shape}"


@pytest.fixture(scope="module")
def trained(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, trained on drawings and captions with nothing but the libraries' code."""
    import torch
    from sentence_transformers import SentenceTransformer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # steps this small only wait for a second thread
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model: Any = SentenceTransformer(str(tiny_clip), device="cpu")
    network, processor = model[0].model, model[0].processor
    texts = processor.tokenizer([caption(*kind) for kind in KINDS], padding=True,
                                return_tensors="pt")  # fmt: skip
    pixels = [
        processor.image_processor([drawing(rng, *kind) for _ in range(40)], return_tensors="pt")
        for kind in KINDS
    ]
    stacked = torch.stack([one["pixel_values"] for one in pixels])
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=STEPS)
    network.train()
    for _ in range(STEPS):
        chosen = torch.randint(0, 40, (len(KINDS),))
        images = stacked[torch.arange(len(KINDS)), chosen]
        loss = network(**texts, pixel_values=images, return_loss=True).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    torch.set_num_threads(threads)
    folder = tmp_path_factory.mktemp("trained") / "clip"
    model.save(str(folder))
    return folder


@pytest.fixture(scope="module")
def drawings() -> dict[str, bytes]:
    """Drawings the model has not seen, by the name of their file."""
    rng = np.random.default_rng(1)
    files = {}
    for (colour, shape), number in itertools.product(KINDS, range(EACH)):
        file = io.BytesIO()
        drawing(rng, colour, shape).save(file, "PNG")
        files[f"photos/{colour}-{shape}-{number}.png"] = file.getvalue()
    return files


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONSPACE_DEVICE", "cpu")


@pytest.mark.quality
def test_a_text_finds_its_photos(
    trained: Path,
    drawings: dict[str, bytes],
    warehouse: Warehouse,
    tmp_path: Path,
    command: CommandLine,
) -> None:
    (tmp_path / "models").mkdir()
    trained.rename(tmp_path / "models/clip")
    warehouse.collection(
        source={"kind": "folder", "uri": "photos", "id": "stem"},
        spaces=[{"name": "photo", "encoder": "./models/clip", "image": "image"}],
        files=drawings,
        name="drawings",
    )
    (report,) = command("run", "drawings", "--json").json
    assert report["ledger"]["encoded"] == len(drawings)

    space = commonspace.open("drawings/photo")
    assert space.spec.queries == ("text",)
    right = 0
    for colour, shape in KINDS:
        found = space.search(caption(colour, shape), k=EACH)["id"].to_pylist()
        meant = [name.startswith(f"{colour}-{shape}-") for name in found]
        assert meant[0], found
        right += sum(meant)
    assert right >= 0.9 * len(drawings)

    red = drawings["photos/red-circle-0.png"]
    assert space.search(image=red, k=1)["id"].to_pylist() == ["red-circle-0"]
    answer = command("search", "drawings/photo", "a blue square", "-k", "1", "--json").json
    assert answer["hits"][0]["id"].startswith("blue-square-")


def test_a_space_whose_encoder_reads_no_texts_says_so(
    warehouse: Warehouse, drawings: dict[str, bytes], command: CommandLine
) -> None:
    warehouse.collection(
        source={"kind": "folder", "uri": "photos", "id": "stem"},
        spaces=[{"name": "photo", "encoder": "hashed/64", "image": "image"}],
        files=drawings,
        name="plain",
    )
    command("run", "plain")
    with pytest.raises(UserMistake, match="space of images: it cannot be searched by text"):
        commonspace.open("plain/photo").search("a red circle")
