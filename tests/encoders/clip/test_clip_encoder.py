"""Images and texts in one space: as the libraries compute it, in every batch, and offline."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.catalog import load
from commonspace.encoders.protocol import FACTS, Content, Encoder, Reason
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import Modality

pytest.importorskip("torch")
pytestmark = pytest.mark.models

MODALITIES: tuple[Modality, Modality] = ("image", "text")
ENGINES = ("openvino", "torch")


@pytest.fixture(scope="module")
def encoders(tiny_clip: Path) -> dict[tuple[str, str], Encoder]:
    """The encoder of each modality on each engine."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for engine in ENGINES:
            patch.setenv("COMMONSPACE_ENGINE", engine)
            for modality in MODALITIES:
                reference = EncoderReference(str(tiny_clip), modality)
                found[engine, modality] = load(reference)
    return found


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_vector_has_the_same_bits_alone_among_others_and_in_any_order(
    encoders: dict[tuple[str, str], Encoder],
    engine: str,
    modality: Modality,
    contents: dict[str, list[Content]],
) -> None:
    encoder, items = encoders[engine, modality], contents[modality]
    together = encoder.encode(items).vectors
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    for position in range(0, 64, 7):
        np.testing.assert_array_equal(
            encoder.encode([items[position]]).vectors[0], together[position]
        )
        np.testing.assert_array_equal(
            encoder.encode([items[position]], purpose="query").vectors[0], together[position]
        )
    order = np.random.default_rng(2).permutation(64)[:19]
    some = encoder.encode([items[i] for i in order]).vectors
    np.testing.assert_array_equal(some, together[order])


@pytest.mark.parametrize("modality", MODALITIES)
def test_both_engines_agree(
    encoders: dict[tuple[str, str], Encoder], modality: Modality, contents: dict[str, list[Content]]
) -> None:
    left, right = (encoders[engine, modality] for engine in ENGINES)
    assert left.spec == right.spec
    np.testing.assert_allclose(
        left.encode(contents[modality]).vectors, right.encode(contents[modality]).vectors, atol=1e-6
    )


def test_queries_may_be_of_either_modality_documents_of_their_own(
    encoders: dict[tuple[str, str], Encoder], engine: str, contents: dict[str, list[Content]]
) -> None:
    text, image = contents["text"][0], contents["image"][0]
    mixed: list[Any] = [text, image, 7, "", image, b"", text, None]
    for modality in MODALITIES:
        encoder = encoders[engine, modality]
        asked = encoder.encode(mixed, purpose="query")
        assert asked.positions.tolist() == [0, 1, 4, 6]
        reasons = {place: failure.reason for place, failure in asked.failures.items()}
        assert reasons == {
            2: Reason.WRONG_TYPE, 3: Reason.EMPTY_TEXT, 5: Reason.EMPTY_IMAGE, 7: Reason.WRONG_TYPE,
        }  # fmt: skip
        kinds = [FACTS[kind] for kind in ("text", "image", "image", "text")]
        assert [set(facts) for facts in asked.facts] == [set(kind) for kind in kinds]
        for vector, content in zip(asked.vectors, [text, image, image, text], strict=True):
            own: Modality = "text" if isinstance(content, str) else "image"
            expected = encoders[engine, own].encode([content]).vectors[0]
            np.testing.assert_array_equal(vector, expected)

        given = encoder.encode([text, image, 7])  # type: ignore[list-item]
        wrong = {"image": [0, 2], "text": [1, 2]}[modality]
        assert sorted(given.failures) == wrong
        assert {failure.reason for failure in given.failures.values()} == {Reason.WRONG_TYPE}
    empty = encoders[engine, "image"].encode([])
    assert empty.vectors.shape == (0, 32)


def test_a_text_beyond_77_tokens_says_so(
    encoders: dict[tuple[str, str], Encoder], tiny_clip: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    text = "every letter is a token here " * 20
    made = encoders["openvino", "text"].encode([text, "short"])
    characters = len(text.replace(" ", ""))
    assert dict(made.facts[0]) | {"text_rules": ""} == {
        "tokens_used": 77, "tokens_total": characters + 2, "tokens_unknown": 0,
        "truncated": True, "text_rules": "",
    }  # fmt: skip
    assert made.facts[1]["truncated"] is False
    model = SentenceTransformer(str(tiny_clip), device="cpu")
    expected = model.encode([text], normalize_embeddings=True)
    np.testing.assert_allclose(made.vectors[:1], expected, atol=1e-5)


def test_prompts_stand_before_texts_and_never_before_images(
    tiny_clip: Path, tmp_path: Path, contents: dict[str, list[Content]]
) -> None:
    import shutil

    plain = load(EncoderReference(str(tiny_clip), "image"))
    folder = Path(shutil.copytree(tiny_clip, tmp_path / "clip"))
    prompts = {"prompts": {"query": "a photo of ", "document": "words: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    prompted = load(EncoderReference(str(folder), "image"))
    image = contents["image"][0]
    for content, same in (("a cat", "a photo of a cat"), (image, image)):
        np.testing.assert_array_equal(
            prompted.encode([content], purpose="query").vectors,
            plain.encode([same], purpose="query").vectors,
        )
    texts = load(EncoderReference(str(folder), "text"))
    np.testing.assert_array_equal(
        texts.encode(["a cat"]).vectors, plain.encode(["words: a cat"], purpose="query").vectors
    )


SIZES = [(32, 32), (33, 47), (160, 213), (500, 375), (20, 90), (1000, 333), (8, 8)]


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 32}},
        {"size": {"shortest_edge": 40}, "resample": 2, "image_mean": [0.1, 0.2, 0.3]},
        {"size": {"height": 32, "width": 32}, "do_center_crop": False},
        {"size": {"height": 48, "width": 36}, "rescale_factor": 0.004},
    ],
)
def test_pixels_are_those_of_the_processor_bit_for_bit(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    import torch
    from transformers import CLIPImageProcessor

    from commonspace.encoders.clip.image_preprocessing import preprocess_image
    from commonspace.encoders.clip.image_settings import read_image_settings
    from commonspace.encoders.clip.model import ImageTower

    processor = CLIPImageProcessor(**{"crop_size": {"height": 32, "width": 32}, **settings})
    assert processor.backend == "torchvision"
    processor.save_pretrained(tmp_path)
    preset = read_image_settings(tmp_path, 32)
    tower = ImageTower(None, preset)
    rng = np.random.default_rng(3)
    for size in SIZES:
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        levels = processor(image, do_rescale=False, do_normalize=False, return_tensors="np")
        np.testing.assert_array_equal(preprocess_image(image, preset), levels["pixel_values"][0])
        whole = processor(image, return_tensors="pt")["pixel_values"]
        ours = tower.normalised(torch.from_numpy(preprocess_image(image, preset)).unsqueeze(0))
        torch.testing.assert_close(ours, whole, rtol=0, atol=0)


def test_pixels_of_the_processor_on_pillow_are_two_levels_away_at_most() -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from commonspace.encoders.clip.image_preprocessing import preprocess_image

    coarse = np.random.default_rng(4).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
    preset = {"resize": 224, "crop": 224, "interpolation": "bicubic", "antialias": True}
    processor = CLIPImageProcessorPil(do_rescale=False, do_normalize=False)
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    apart = np.abs(preprocess_image(image, preset).astype(float) - expected)
    assert apart.max() <= 2
    assert (apart > 0).mean() < 0.02


AUDIT = """
import json, sys
import numpy as np
from commonspace.encoders.catalog import load
from commonspace.encoders.reference import EncoderReference
folder, photo = sys.argv[1:]
texts = ["http://127.0.0.1:9/photo.png", "https://example.org/a.jpg?b=c", photo, "file://" + photo,
         "data:image/png;base64,iVBORw0KGgo=", "ftp://example.org/x.webp"]
events = []
NETWORK = ("socket.connect", "socket.getaddrinfo", "urllib.Request", "http.client.")
sys.addaudithook(lambda name, arguments: events.append((name, str(arguments)))
                 if name.startswith((*NETWORK, "open", "os.open")) else None)
encoders = [load(EncoderReference(folder, modality)) for modality in ("text", "image")]
encoders[1].encode(["warm"], purpose="query")
loading = [event for event in events if event[0].startswith(NETWORK)]
assert not loading, loading
events.clear()
documents = encoders[0].encode(texts)
queries = encoders[1].encode(texts, purpose="query")
made = list(events)
open(photo, "rb").close()
assert any(photo in said for name, said in events[len(made):]), "the audit sees what is opened"
assert not documents.failures and not queries.failures
np.testing.assert_array_equal(documents.vectors, queries.vectors)
one = [encoders[0].encode([text]).vectors[0].tolist() for text in texts]
np.testing.assert_array_equal(documents.vectors, np.array(one, np.float32))
print(json.dumps({"events": made, "texts": texts, "vectors": documents.vectors.tolist()}))
"""


def test_a_text_that_is_an_address_or_a_path_is_a_text(tiny_clip: Path, tmp_path: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 40), (200, 30, 30)).save(photo)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT, str(tiny_clip), str(photo)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert not [event for event in said["events"] if event[0] not in ("open", "os.open")]
    assert not [event for event in said["events"] if str(photo) in event[1]]
    tokenizer, model = (kind.from_pretrained(str(tiny_clip)) for kind in (CLIPTokenizer, CLIPModel))
    for text, vector in zip(said["texts"], said["vectors"], strict=True):
        tokens = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            features = model.eval().get_text_features(**tokens).pooler_output
        expected = torch.nn.functional.normalize(features, dim=1)[0].numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_an_image_keeps_its_rules(
    encoders: dict[tuple[str, str], Encoder], contents: dict[str, list[Content]]
) -> None:
    """Decoding is `image_rules`: what it refuses has no vector, and EXIF turns an image."""
    upright = Image.open(io.BytesIO(bytes(contents["image"][1])))  # type: ignore[arg-type]
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    files: dict[str, Callable[[io.BytesIO], None]] = {
        "upright": lambda file: upright.save(file, "PNG"),
        "turned": lambda file: turned.save(file, "PNG", exif=exif),
    }
    written = {}
    for name, save in files.items():
        file = io.BytesIO()
        save(file)
        written[name] = file.getvalue()
    made = encoders["openvino", "image"].encode([*written.values(), written["upright"][:-30]])
    np.testing.assert_array_equal(made.vectors[0], made.vectors[1])
    assert made.facts[1]["image_rules"] == "exif-transpose"
    assert made.failures[2].reason == Reason.TRUNCATED_IMAGE
