"""A CLIP folder is read whole, or refused; whatever decides a vector changes the fingerprint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.errors import EncoderError, EncoderNotFound, WeightsRefused
from commonspace.encoders.protocol import Content
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec, Modality
from tests.support.other_process import fingerprint_elsewhere

pytest.importorskip("torch")

pytestmark = pytest.mark.models

MODALITIES: tuple[Modality, Modality] = ("image", "text")


@pytest.fixture
def folder(tiny_clip: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_clip, tmp_path / "clip"))


def _reference(folder: Path, modality: str = "image") -> EncoderReference:
    return EncoderReference(str(folder), modality)


def _edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def _as_on_the_hub(folder: Path) -> None:
    """The layout of clip-ViT-B-32: a folder for the module, and settings in older words."""
    inner = folder / "0_CLIPModel"
    inner.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(inner / name)
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    ends = {"unk_token": "<|endoftext|>", "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}  # fmt: skip
    settings = {**ends, "model_max_length": 77, "do_lower_case": True, "errors": "replace",
                "tokenizer_class": "CLIPTokenizer", "add_prefix_space": False}  # fmt: skip
    images = {"crop_size": 32, "size": 32, "resample": 3, "do_center_crop": True,
              "do_normalize": True, "do_resize": True, "image_mean": [0.5, 0.4, 0.3],
              "image_std": [0.2, 0.3, 0.25],
              "feature_extractor_type": "CLIPFeatureExtractor"}  # fmt: skip
    written = {
        "vocab.json": model["vocab"],
        "tokenizer_config.json": settings,
        "special_tokens_map.json": ends,
        "preprocessor_config.json": images,
    }
    for name, value in written.items():
        (inner / name).write_text(json.dumps(value), encoding="utf-8")
    # Said of every CLIP before 2023: the network then pools the highest token.
    _edit(inner / "config.json", lambda config: config["text_config"].update(eos_token_id=2))
    (inner / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json",
                 "sentence_bert_config.json"):  # fmt: skip
        (folder / name).unlink()
    kind = "sentence_transformers.models.CLIPModel"
    entry = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": kind}
    (folder / "modules.json").write_text(json.dumps([entry]))


def _plain(folder: Path) -> None:
    """The layout of transformers alone."""
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()


def _with_normalize(folder: Path) -> None:
    entry = {"idx": 1, "name": "1", "path": "1_Normalize",
             "type": "sentence_transformers.models.Normalize"}  # fmt: skip
    _edit(folder / "modules.json", lambda modules: modules.append(entry))
    (folder / "1_Normalize").mkdir()


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "as saved today": lambda _: None,
    "as on the hub": _as_on_the_hub,
    "with a Normalize": _with_normalize,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_what_sentence_transformers_gives(
    folder: Path, layout: str, contents: dict[str, list[Content]]
) -> None:
    import io

    from PIL import Image
    from sentence_transformers import SentenceTransformer

    LAYOUTS[layout](folder)
    model = SentenceTransformer(str(folder), device="cpu")
    texts, files = contents["text"][:16], contents["image"][:16]
    photos: list[Any] = [Image.open(io.BytesIO(bytes(file))) for file in files]  # type: ignore[arg-type]
    for modality, ours, theirs in (("text", texts, list(texts)), ("image", files, photos)):
        expected = model.encode(theirs, normalize_embeddings=True)
        encoder = load(_reference(folder, modality))
        assert encoder.spec.dim == 32
        np.testing.assert_allclose(encoder.encode(ours).vectors, expected, atol=1e-5, rtol=0)


def test_a_folder_of_transformers_alone_is_the_same_model(
    folder: Path, contents: dict[str, list[Content]]
) -> None:
    before = load(_reference(folder)).encode(contents["image"][:4]).vectors
    _plain(folder)
    after = load(_reference(folder)).encode(contents["image"][:4]).vectors
    np.testing.assert_array_equal(after, before)


def test_one_folder_two_specs_known_without_torch(folder: Path) -> None:
    specs = {modality: describe(_reference(folder, modality)) for modality in MODALITIES}
    assert [specs[m].queries for m in MODALITIES] == [("text",), ("image",)]
    assert specs["image"].fingerprint != specs["text"].fingerprint
    for modality, spec in specs.items():
        assert (spec.kind, spec.dim, spec.max_tokens, spec.modality) == ("clip", 32, 77, modality)
        assert EncoderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
        without = ("torch", "transformers", "tokenizers")
        assert fingerprint_elsewhere(_reference(folder, modality), without) == spec.fingerprint


def test_a_clip_model_takes_no_options_of_text_models(folder: Path) -> None:
    with pytest.raises(EncoderNotFound, match="takes no dimensions"):
        describe(EncoderReference(str(folder), "text", dimensions=8))
    with pytest.raises(EncoderNotFound, match="takes no weights"):
        describe(EncoderReference(str(folder), "image", weights="x"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_that_decides_a_vector_changes_the_fingerprint(
    folder: Path, layout: str
) -> None:
    LAYOUTS[layout](folder)
    before = {
        modality: describe(_reference(folder, modality)).fingerprint for modality in MODALITIES
    }
    unread = {"README.md", "config_sentence_transformers.json", "model.safetensors"}
    files = [p for p in folder.rglob("*") if p.is_file() and p.name not in unread]
    assert len(files) >= 6
    for path in files:
        original = path.read_bytes()
        path.write_bytes(original + b"\n")
        for modality in MODALITIES:
            assert describe(_reference(folder, modality)).fingerprint != before[modality], path
        path.write_bytes(original)
    prompts = {"prompts": {"query": "a photo of "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    assert describe(_reference(folder)).fingerprint != before["image"]


def test_weights_change_the_fingerprint_and_words_about_them_do_not(folder: Path) -> None:
    before = describe(_reference(folder)).fingerprint
    (folder / "README.md").write_text("other words")
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert describe(_reference(folder)).fingerprint == before
    _tensors(folder, lambda tensors: tensors["visual_projection.weight"].mul_(1.5))
    assert describe(_reference(folder)).fingerprint != before


def _tensors(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def _images(folder: Path, **changes: Any) -> None:
    change = lambda settings: settings["image_processor"].update(changes)  # noqa: E731
    _edit(folder / "processor_config.json", change)


def _cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-10])


def _dense_behind(folder: Path) -> None:
    entry = {"idx": 1, "name": "1", "path": "1_Dense",
             "type": "sentence_transformers.models.Dense"}  # fmt: skip
    _edit(folder / "modules.json", lambda modules: modules.append(entry))
    (folder / "1_Dense").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "1_Dense/model.safetensors")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "only a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "only pickled",
    ),
    "cut weights": (_cut, "cut off"),
    "other crop": (lambda f: _images(f, crop_size={"height": 28, "width": 28}), "28 pixels"),
    "oblong crop": (lambda f: _images(f, crop_size={"height": 32, "width": 28}), "32 pixels"),
    "smaller size": (lambda f: _images(f, size={"shortest_edge": 24}), "24 pixels"),
    "no crop": (lambda f: _images(f, do_center_crop=False), "32 pixels"),
    "size by the longest edge": (lambda f: _images(f, size={"longest_edge": 32}), "size"),
    "not normalised": (lambda f: _images(f, do_normalize=False), "do_normalize"),
    "padded": (lambda f: _images(f, do_pad=True), "do_pad"),
    "other filter": (lambda f: _images(f, resample=1), "resample 1"),
    "one channel": (lambda f: _images(f, image_mean=[0.5]), "three channels"),
    "other processor": (
        lambda f: _images(f, image_processor_type="ViTImageProcessor"), "ViTImageProcessor",
    ),
    "other image size": (
        lambda f: _edit(f / "config.json", lambda c: c["vision_config"].update(image_size=64)),
        "model takes 64",
    ),
    "a dense layer behind": (_dense_behind, "not supported"),
    "code of its own": (
        lambda f: _edit(f / "modules.json", lambda m: m[0].update(type="evil.CLIPModel")),
        "not part of sentence-transformers",
    ),
    "another model": (
        lambda f: (
            _edit(f / "config.json", lambda c: c.update(model_type="siglip")),
            _edit(f / "modules.json", lambda m: m[0].update(type="sentence_transformers.CLIPModel"))
        ),
        "'siglip' is not supported",
    ),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter"),
    "tokens instead of features": (
        lambda f: _edit(f / "sentence_bert_config.json",
                        lambda c: c["modality_config"]["image"].update(method="forward")),
        "get_image_features",
    ),
    "lower case twice": (
        lambda f: _edit(f / "sentence_bert_config.json", lambda c: c.update(do_lower_case=True)),
        "do_lower_case",
    ),
}  # fmt: skip


def assert_refused(use: Callable[[EncoderReference], object], folder: Path, message: str) -> None:
    for modality in MODALITIES:
        with pytest.raises(WeightsRefused, match=message):
            use(_reference(folder, modality))


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_described_never(folder: Path, change: Any, message: str) -> None:
    change(folder)
    assert_refused(describe, folder, message)


@pytest.mark.parametrize(
    "name", ["config.json", "processor_config.json", "tokenizer_config.json", "model.safetensors"]
)
def test_a_missing_file_is_said(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(EncoderError) as caught:
        describe(_reference(folder))
    assert caught.value.exit_code == 2


def _drop(name: str) -> Callable[[Path], None]:
    return lambda folder: _tensors(folder, lambda tensors: tensors.pop(name))


def _narrow(folder: Path) -> None:
    key = "text_projection.weight"
    _tensors(folder, lambda tensors: tensors.update({key: tensors[key][:16].clone()}))


def _no_end(folder: Path) -> None:
    _edit(folder / "tokenizer.json", lambda t: t.update(post_processor=None))
    _edit(folder / "tokenizer_config.json", lambda t: t.update(tokenizer_class="TokenizersBackend"))


UNLOADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no projection of images": (_drop("visual_projection.weight"), "1 weights are missing"),
    "no layer of texts": (
        _drop("text_model.encoder.layers.1.mlp.fc1.weight"), "1 weights are missing",
    ),
    "a narrow projection": (_narrow, "wrong shape|mismatch|cannot be loaded"),
    "a wider space": (
        lambda f: _edit(f / "config.json", lambda c: c.update(projection_dim=64)),
        "wrong shape|mismatch|cannot be loaded",
    ),
    "another end": (
        lambda f: _edit(f / "config.json", lambda c: c["text_config"].update(eos_token_id=7)),
        "does not end a text",
    ),
    "no end": (_no_end, "does not end a text"),
    "fewer words": (
        lambda f: _edit(f / "config.json", lambda c: c["text_config"].update(vocab_size=9)),
        "wrong shape|mismatch|cannot be loaded",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), UNLOADABLE.values(), ids=UNLOADABLE)
def test_loaded_never(folder: Path, change: Any, message: str) -> None:
    change(folder)
    assert_refused(load, folder, message)
