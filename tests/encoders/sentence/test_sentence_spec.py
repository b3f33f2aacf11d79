"""A model folder is read whole, or refused; whatever decides a vector changes the fingerprint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.reference import EncoderReference

pytestmark = pytest.mark.models

pytest.importorskip("torch")


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    return copy


def _edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _reference(folder: Path) -> EncoderReference:
    return EncoderReference(str(folder), "text")


def _tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def _cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def _only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _custom_class(folder: Path) -> None:
    _edit(folder / "modules.json", lambda modules: modules[1].update(type="evil.Pooling"))


def _module_outside(folder: Path) -> None:
    _edit(folder / "modules.json", lambda modules: modules[1].update(path="../elsewhere"))


def _unsupported_module(folder: Path) -> None:
    kind = "sentence_transformers.models.CLIPModel"
    _edit(folder / "modules.json", lambda modules: modules[0].update(type=kind))


def _pickled_dense(folder: Path) -> None:
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    _edit(folder / "modules.json", lambda modules: modules.insert(2, dense))
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense/config.json").write_text(json.dumps({"out_features": 8}))
    (folder / "2_Dense/pytorch_model.bin").write_bytes(b"pickle")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut weights": (lambda f: _cut(f / "model.safetensors", 0.99), "cut off"),
    "weights cut in the header": (lambda f: _cut(f / "model.safetensors", 0.0005), "cut off"),
    "empty weights": (lambda f: _cut(f / "model.safetensors", 0), "not a safetensors"),
    "longer weights": (
        lambda f: (f / "model.safetensors").open("ab").write(b"more"), "4 bytes follow",
    ),
    "weights that are text": (
        lambda f: (f / "model.safetensors").write_text("version https://git-lfs"), "safetensors",
    ),
    "only a pickle": (_only_pickle, "only pickled weights"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "code of its own": (_custom_class, "not part of sentence-transformers"),
    "a module of images": (_unsupported_module, "not supported"),
    "a module outside": (_module_outside, "outside the model"),
    "a pickled dense layer": (_pickled_dense, "model.safetensors"),
    "modules.json is no JSON": (lambda f: (f / "modules.json").write_text("{"), "not JSON"),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter"),
    "a generative task": (
        lambda f: _edit(f / "sentence_bert_config.json",
                        lambda c: c.update(transformer_task="text-generation")),
        "unsupported settings",
    ),
}  # fmt: skip


@pytest.mark.parametrize("tamper", REFUSED)
def test_described_never(folder: Path, tamper: str) -> None:
    change, said = REFUSED[tamper]
    change(folder)
    with pytest.raises(WeightsRefused, match=said) as caught:
        describe(_reference(folder))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "name", ["modules.json", "config.json", "sentence_bert_config.json", "1_Pooling/config.json"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(EncoderNotFound, match=Path(name).name):
        describe(_reference(folder))


def _drop_layer(tensors: dict[str, Any]) -> None:
    del tensors["encoder.layer.0.attention.self.query.weight"]


def _narrow_layer(tensors: dict[str, Any]) -> None:
    key = "encoder.layer.0.attention.self.query.weight"
    tensors[key] = tensors[key][:, :8].clone()


@pytest.mark.parametrize("change", [_drop_layer, _narrow_layer])
def test_weights_that_do_not_fill_the_model_are_refused(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    _tensors(folder, change)
    with pytest.raises(WeightsRefused):
        load(_reference(folder))


def test_a_pooling_width_that_is_not_the_models_is_refused(folder: Path) -> None:
    _edit(folder / "1_Pooling/config.json", lambda c: c.update(word_embedding_dimension=48))
    with pytest.raises(WeightsRefused, match="makes 24 dimensions"):
        load(_reference(folder))


def _scale(tensors: dict[str, Any]) -> None:
    tensors["embeddings.LayerNorm.weight"] = tensors["embeddings.LayerNorm.weight"] * 1.05


CHANGED: dict[str, Callable[[Path], object]] = {
    "scaled layer": lambda f: _tensors(f, _scale),
    "cls pooling": lambda f: _edit(
        f / "1_Pooling/config.json",
        lambda c: c.update(pooling_mode_mean_tokens=False, pooling_mode_cls_token=True),
    ),
    "no Normalize": lambda f: _edit(f / "modules.json", lambda modules: modules.pop()),
    "other tokenizer": lambda f: _edit(
        f / "tokenizer.json", lambda t: t["normalizer"].update(lowercase=False)
    ),
    "other vocabulary": lambda f: (f / "vocab.txt").open("a").write("more\n"),
    "shorter input": lambda f: _edit(
        f / "sentence_bert_config.json", lambda c: c.update(max_seq_length=128)
    ),
    "a prompt": lambda f: _edit(
        f / "config_sentence_transformers.json", lambda c: c.update(prompts={"query": "q: "})
    ),
    "other activation": lambda f: _edit(f / "config.json", lambda c: c.update(hidden_act="relu")),
}


@pytest.mark.parametrize("tamper", CHANGED)
def test_another_fingerprint(folder: Path, tamper: str) -> None:
    before = describe(_reference(folder)).fingerprint
    CHANGED[tamper](folder)
    assert describe(_reference(folder)).fingerprint != before


def test_what_decides_nothing_changes_nothing(folder: Path, tmp_path: Path) -> None:
    before = describe(_reference(folder)).fingerprint
    (folder / "README.md").write_text("other words")
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"variant")
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    moved = folder.rename(tmp_path / "elsewhere")
    assert describe(_reference(moved)).fingerprint == before


def test_without_normalize_the_encoder_normalises(folder: Path) -> None:
    whole = load(_reference(folder)).encode(["a text", "another"])
    _edit(folder / "modules.json", lambda modules: modules.pop())
    added = load(_reference(folder))
    assert added.spec.preprocessing["normalise"] == "added"
    np.testing.assert_allclose(
        added.encode(["a text", "another"]).vectors, whole.vectors, atol=1e-6
    )


def test_prompts_are_put_before_the_text(folder: Path) -> None:
    plain = load(_reference(folder))
    prompts = {"prompts": {"query": "ask: ", "passage": "find: "}}
    _edit(folder / "config_sentence_transformers.json", lambda config: config.update(prompts))
    prompted = load(_reference(folder))
    assert prompted.spec.prompts == {"document": "find: ", "query": "ask: "}
    for purpose, prompt in prompted.spec.prompts.items():
        np.testing.assert_array_equal(
            prompted.encode(["rivers"], purpose=purpose).vectors,  # type: ignore[arg-type]
            plain.encode([f"{prompt}rivers"]).vectors,
        )


def test_sharded_weights_are_read_and_missed(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    before = load(_reference(folder)).encode(["shards"]).vectors
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    keys = sorted(tensors)
    halves = [keys[::2], keys[1::2]]
    for shard, half in zip(shards, halves, strict=True):
        save_file({key: tensors[key] for key in half}, folder / shard, {"format": "pt"})
    places = {key: shard for shard, half in zip(shards, halves, strict=True) for key in half}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(load(_reference(folder)).encode(["shards"]).vectors, before)
    (folder / shards[1]).unlink()
    with pytest.raises(WeightsRefused, match="shards are missing"):
        describe(_reference(folder))


ADAPTING = {
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "longrope": {
        "rope_type": "longrope", "factor": 4.0, "short_factor": [1.0] * 6, "long_factor": [3.0] * 6,
        "original_max_position_embeddings": 64,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", ADAPTING)
def test_positions_that_adapt_to_a_batch_are_refused_where_they_would(
    folder: Path, contents: dict[str, list[Any]], kind: str
) -> None:
    """transformers keeps what the longest text so far has made of them."""
    import torch
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=30522, hidden_size=24, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0,
        max_position_embeddings=256 if kind == "longrope" else 64,
        rope_parameters={**ADAPTING[kind], "rope_theta": 1e4},
    )  # fmt: skip
    LlamaModel(config).save_pretrained(str(folder))
    _edit(folder / "sentence_bert_config.json", lambda made: made.update(max_seq_length=65))
    with pytest.raises(WeightsRefused, match="longest text of a batch, beyond 64 tokens"):
        load(_reference(folder))
    _edit(folder / "sentence_bert_config.json", lambda made: made.update(max_seq_length=64))
    encoder = load(_reference(folder))
    vectors = encoder.encode(contents["text"]).vectors
    np.testing.assert_array_equal(encoder.encode(contents["text"][::-1]).vectors[::-1], vectors)
