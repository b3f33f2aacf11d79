"""A model that is broken is refused on a first run, before the first row, in one message."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.encode import file_changes as files
from tests.pipeline.encode.file_changes import WEIGHTS, Change
from tests.pipeline.encode.served_models import (
    IMAGE_SPACE,
    TEXT_SPACE,
    Served,
    published_files,
    refused,
)
from tests.pipeline.encode.small_models import LONG, QUERY, ROWS, build_network, photos
from tests.support.collection_file import write_collection
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse

pytest.importorskip("torch")
pytestmark = pytest.mark.quality


def _half_offset(said: dict[str, Any]) -> None:
    """A tensor that claims half of its bytes; the next one's are right."""
    said[QUERY]["data_offsets"][1] -= said[QUERY]["shape"][0] * 2


def _overlap(said: dict[str, Any]) -> None:
    said[QUERY]["data_offsets"] = said[QUERY.replace("query", "key")]["data_offsets"]


def _pickled(file: Path) -> None:
    """A pickle that makes a folder `ran` beside the file when it is opened."""
    import torch

    class Code:
        def __reduce__(self) -> Any:
            return Path.mkdir, (file.parent / "ran",)

    torch.save({"weight": Code()}, file)


def _only_pickle(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    _pickled(folder / "pytorch_model.bin")


def _own_code(folder: Path) -> None:
    code = f"import pathlib\npathlib.Path({str(folder / 'ran')!r}).mkdir()\n"
    (folder / "modeling_own.py").write_text(code)
    (folder / "configuration_own.py").write_text(code)
    own = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    files.put("config.json", model_type="own", auto_map=own)(folder)


def _module(number: int, **values: Any) -> Change:
    return files.edited("modules.json", lambda modules: modules[number].update(values))


BROKEN: dict[str, tuple[Change, str]] = {
    "a missing tensor": (files.tensors(lambda held: held.pop(QUERY)), "1 weights are missing"),
    "a narrow tensor": (
        files.tensors(lambda held: held.update({QUERY: held[QUERY][:, :8]})), "query",
    ),
    "tensors of further layers": (files.put("config.json", num_hidden_layers=1), "encoder.layer.1"),
    "weights cut in half": (files.cut(WEIGHTS, 0.5), "cut off"),
    "weights without the last bytes": (files.cut(WEIGHTS, 0.9999), "cut off"),
    "weights cut in the header": (files.cut(WEIGHTS, 0.002), "cut off within its header"),
    "weights of no bytes": (files.cut(WEIGHTS, 0), "not a safetensors file"),
    "weights with more bytes": (
        lambda folder: (folder / WEIGHTS).open("ab").write(b"more"), "4 bytes follow",
    ),
    "a header of too few bytes": (files.header(_half_offset), WEIGHTS[:5]),
    "a header of overlapping tensors": (files.header(_overlap), "model"),
    "a header of another shape": (
        files.header(lambda said: said[QUERY].update(shape=[24, 48])), "model",
    ),
    "a header beyond the file": (
        files.header(lambda said: said[QUERY].update(data_offsets=[0, 10**12])), "cut off",
    ),
    "a header without an end": (
        files.header(lambda said: said[QUERY].update(data_offsets=[0, float("inf")])), "header",
    ),
    "a header of endless lists": (
        files.raw(WEIGHTS, (10**6).to_bytes(8, "little") + b"[" * 10**6), "header",
    ),
    "a git-lfs pointer": (
        files.raw(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "safetensors",
    ),
    "weights that are NaN": (files.every(lambda t: t * float("nan")), "makes no usable vectors"),
    "one weight that is infinite": (
        files.tensors(lambda held: held[QUERY].fill_(float("inf"))), "makes no usable vectors",
    ),
    "weights of zeros": (files.every(lambda t: t * 0), "makes no usable vectors"),
    "embeddings of zeros": (
        files.tensors(lambda held: [t.zero_() for key, t in held.items()
                              if key.startswith("embeddings.") and "bias" not in key]
                + [held["embeddings.LayerNorm.bias"].fill_(1.0)]),
        "same vector",
    ),
    "only a pickle with code": (_only_pickle, "only pickled weights (pytorch_model.bin)"),
    "code of the model's own": (_own_code, "cannot be loaded"),
    "a class of another package": (
        _module(1, type="evil.Pooling"), "not part of sentence-transformers",
    ),
    "a class of the model's folder": (
        _module(0, type="modeling_own.Transformer"), "not part of sentence-transformers",
    ),
    "a module that is not supported": (
        _module(1, type="sentence_transformers.models.WeightedLayerPooling"), "not supported",
    ),
    "a module in a folder outside": (_module(1, path="../outside"), "outside the model"),
    "a module at an absolute path": (_module(1, path="/etc"), "outside the model"),
    "modules.json of another shape": (files.raw("modules.json", b'{"0": {}}'), "not a list"),
    "config.json is no JSON": (files.raw("config.json", b"<html>404</html>"), "not JSON"),
    "config.json is missing": (files.gone("config.json"), "config.json"),
    "tokenizer.json is cut": (files.cut("tokenizer.json", 0.5), "tokenizer"),
    "no tokenizer": (files.gone("tokenizer.json", "tokenizer_config.json"), "tokenizer"),
    "the tokenizer of a larger model": (
        files.edited("tokenizer.json", lambda t: t["model"]["vocab"].update(enormous=30_000)),
        "has a token 30000",
    ),
    "no padding token": (
        files.put("tokenizer_config.json", pad_token=None), "no padding token",
    ),
    "a dim that does not fit": (
        files.put("1_Pooling/config.json", word_embedding_dimension=48), "makes 24 dimensions",
    ),
    "a dim that is a word": (
        files.put("1_Pooling/config.json", word_embedding_dimension="wide"),
        "a setting cannot be read",
    ),
    "more tokens than positions": (
        files.put("sentence_bert_config.json", max_seq_length=512), "know 64 positions",
    ),
    "prompts that are a list": (
        files.put("config_sentence_transformers.json", prompts=["query: "]),
        "a setting cannot be read",
    ),
    "an adapter": (files.raw("adapter_config.json", b"{}"), "an adapter"),
}  # fmt: skip


@pytest.mark.parametrize("tamper", BROKEN)
def test_a_broken_text_model_on_a_first_run(
    tiny: Path, warehouse: Warehouse, command: CommandLine, tamper: str
) -> None:
    change, says = BROKEN[tamper]
    shutil.copytree(tiny, warehouse.folder / "model")
    change(warehouse.folder / "model")
    write_collection(warehouse.folder, [*ROWS[:10], LONG], spaces=[TEXT_SPACE])
    answer = command("run", "things")
    refused(answer, says)
    assert published_files(warehouse) == {}
    assert not list(warehouse.folder.rglob("ran"))


def _zeros(file: Path) -> None:
    files.tensors(lambda held: [t.zero_() for t in held.values()], file.name)(file.parent)


def _nan(file: Path) -> None:
    files.tensors(lambda held: held["conv1.weight"].fill_(float("nan")), file.name)(file.parent)


def _short(file: Path) -> None:
    files.tensors(lambda held: held.pop("layer1.0.conv1.weight"), file.name)(file.parent)


def _as_pth(file: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(file), file.with_suffix(".pth"))


def _cut_pth(file: Path) -> None:
    _as_pth(file)
    files.cut("resnet18.pth", 0.6)(file.parent)


BROKEN_NETWORK: dict[str, tuple[Change, str, str]] = {
    "a pickle with code": (
        lambda file: _pickled(file.with_suffix(".pth")), ".pth", "a pickle that holds code",
    ),
    "a cut pickle": (_cut_pth, ".pth", "cannot be opened"),
    "a network without one tensor": (_short, ".safetensors", "1 missing (layer1.0.conv1.weight)"),
    "a network of another architecture": (
        lambda file: build_network(file, architecture="resnet34"), ".safetensors", "unexpected",
    ),
    "a network of NaN": (_nan, ".safetensors", "makes no usable vectors"),
    "a network of zeros": (_zeros, ".safetensors", "makes no usable vectors"),
}  # fmt: skip


@pytest.mark.parametrize("tamper", BROKEN_NETWORK)
def test_a_broken_image_model_on_a_first_run(
    served_images: Served, warehouse: Warehouse, command: CommandLine, tamper: str
) -> None:
    change, suffix, says = BROKEN_NETWORK[tamper]
    shutil.copytree(served_images.pristine, warehouse.folder / "model")
    change(warehouse.folder / "model/resnet18.safetensors")
    space = {**IMAGE_SPACE, "weights": f"./model/resnet18{suffix}"}
    write_collection(warehouse.folder, photos(warehouse.folder), spaces=[space])
    refused(command("run", "things"), says)
    assert published_files(warehouse) == {}
    assert not list(warehouse.folder.rglob("ran"))
