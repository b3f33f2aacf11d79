"""A model that was changed under a release is refused before the first row, in one message."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.encode.file_changes import (
    WEIGHTS,
    Change,
    bit,
    edited,
    every,
    gone,
    put,
    raw,
    tensors,
)
from tests.pipeline.encode.served_models import (
    IMAGE_SPACE,
    TEXT_SPACE,
    Served,
    assert_refused_and_served,
    serve,
)
from tests.pipeline.encode.small_models import (
    LONG,
    QUERY,
    ROWS,
    WORDS,
    another,
    build_model,
    build_network,
    photos,
)
from tests.support.command_line import CommandLine

pytest.importorskip("torch")
pytestmark = pytest.mark.quality


TEXT_CHANGED: dict[str, tuple[Change, str]] = {
    "two words swapped in the vocabulary": (
        edited("tokenizer.json", lambda t: t["model"]["vocab"].update(
            river=t["model"]["vocab"]["stone"], stone=t["model"]["vocab"]["river"])),
        "files.tokenizer.json",
    ),
    "tokenizer no longer lowers case": (
        edited("tokenizer.json", lambda t: t["normalizer"].update(lowercase=False)),
        "files.tokenizer.json",
    ),
    "tokenizer strips accents": (
        edited("tokenizer.json", lambda t: t["normalizer"].update(strip_accents=True)),
        "files.tokenizer.json",
    ),
    "no special tokens around a text": (
        edited("tokenizer.json", lambda t: t.update(post_processor=None)), "files.tokenizer.json",
    ),
    "an added token": (
        raw("added_tokens.json", b'{"[NEW]": 204}'), "files.added_tokens.json: nothing ->",
    ),
    "truncation on the other side": (
        put("tokenizer_config.json", truncation_side="left"), "files.tokenizer_config.json",
    ),
    "padding on the other side": (
        put("tokenizer_config.json", padding_side="left"), "files.tokenizer_config.json",
    ),
    "another padding token": (
        put("tokenizer_config.json", pad_token="[UNK]"), "files.tokenizer_config.json",
    ),
    "no basic tokenisation": (
        put("tokenizer_config.json", do_basic_tokenize=False), "files.tokenizer_config.json",
    ),
    "lower_case of the transformer": (
        put("sentence_bert_config.json", do_lower_case=True),
        "preprocessing.lower_case: False -> True",
    ),
    "max_seq_length": (
        put("sentence_bert_config.json", max_seq_length=32), "max_tokens: 64 -> 32",
    ),
    "cls pooling": (
        put("1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True),
        "pooling: mean -> cls",
    ),
    "max pooling": (
        put("1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_max_tokens=True),
        "pooling: mean -> max",
    ),
    "pooling leaves the prompt out": (
        put("1_Pooling/config.json", include_prompt=False),
        "preprocessing.pool_prompt: True -> False",
    ),
    "Normalize dropped": (
        edited("modules.json", lambda modules: modules.pop()),
        "preprocessing.normalise: model -> added",
    ),
    "Normalize before Pooling": (
        edited("modules.json", lambda modules: modules.reverse() or modules.sort(
            key=lambda module: module["type"].endswith(("Pooling", "Normalize")))),
        "preprocessing.modules",
    ),
    "a query prompt": (
        put("config_sentence_transformers.json", prompts={"query": "ask: "}),
        "prompts.query:  -> ask: ",
    ),
    "a document prompt": (
        put("config_sentence_transformers.json", prompts={"passage": "find: "}),
        "prompts.document:  -> find: ",
    ),
    "a default prompt": (
        put("config_sentence_transformers.json", prompts={"x": "any: "}, default_prompt_name="x"),
        "prompts.document:  -> any: ",
    ),
    "layer norm epsilon": (put("config.json", layer_norm_eps=1e-3), "files.config.json"),
    "activation": (put("config.json", hidden_act="relu"), "files.config.json"),
    "attention heads": (put("config.json", num_attention_heads=4), "files.config.json"),
    "one bit of one tensor": (bit(WEIGHTS), "weights: sha256:"),
    "one value of one tensor": (
        tensors(lambda held: held[QUERY][0, 0].add_(1e-6)), "weights: sha256:",
    ),
    "two tensors exchanged": (
        tensors(lambda held: held.update({QUERY: held[QUERY.replace("query", "key")],
                                          QUERY.replace("query", "key"): held[QUERY]})),
        "weights: sha256:",
    ),
    "weights rounded to half precision": (every(lambda t: t.half().float()), "weights: sha256:"),
    "another revision's weights": (
        lambda folder: shutil.copy(
            build_model(folder.parent / "other", seed=1) / WEIGHTS, folder / WEIGHTS
        ),
        "weights: sha256:",
    ),
    "another revision in the folder": (another(seed=2, words=WORDS[::-1]), "weights: sha256:"),
    "fewer layers": (another(layers=1), "architecture: BertModel-2x24 -> BertModel-1x24"),
}  # fmt: skip


@pytest.fixture(scope="module")
def served_text(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve(tmp_path_factory.mktemp("text"), TEXT_SPACE, [*ROWS[:10], LONG], tiny)


@pytest.fixture
def text(served_text: Served) -> Iterator[Served]:
    served_text.restore()
    yield served_text
    served_text.restore()


@pytest.mark.parametrize("tamper", TEXT_CHANGED)
def test_a_text_model_changed_in_place(text: Served, command: CommandLine, tamper: str) -> None:
    change, says = TEXT_CHANGED[tamper]
    change(text.model)
    assert_refused_and_served(text, command, says)


def test_the_model_as_it_was_is_taken(tiny: Path, tmp_path: Path, command: CommandLine) -> None:
    """What the refusals above rest on: copied anew, and with other words about it, it goes on."""
    served = serve(tmp_path / "place", TEXT_SPACE, ROWS[:12], tiny)
    served.restore()
    (served.model / "README.md").write_text("other words")
    command.use(served.warehouse)
    answer = command("run", "things", "--json")
    assert answer.returncode == 0, answer.stderr
    assert answer.json[0]["ledger"] | {"encoded": 2, "kept": 10} == answer.json[0]["ledger"]


OPTIONS_CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "another layer": ({"layer": "layer3"}, "layer: layer2 -> layer3"),
    "the penultimate layer": ({"layer": None, "pooling": None}, "layer: layer2 -> penultimate"),
    "another pooling of the map": ({"pooling": "max"}, "pooling: average -> max"),
    "another precision": ({"precision": "fp16"}, "precision: fp32 -> fp16"),
    "untrained weights": ({"weights": "untrained"}, "trained: True -> False"),
    "another architecture": (
        {"encoder": "torchvision/resnet34"}, "architecture: resnet18 -> resnet34",
    ),
    "an encoder of another kind": (
        {"encoder": "hashed", "weights": None, "layer": None, "pooling": None},
        "kind: torchvision -> hashed",
    ),
}  # fmt: skip


@pytest.fixture
def images(served_images: Served) -> Iterator[Served]:
    served_images.restore()
    yield served_images
    served_images.restore()


@pytest.mark.parametrize("tamper", ["another training", "one bit"])
def test_an_image_model_changed_in_place(images: Served, command: CommandLine, tamper: str) -> None:
    file = images.model / "resnet18.safetensors"
    if tamper == "one bit":
        bit(file.name)(images.model)
    else:
        build_network(file, seed=1)
    assert_refused_and_served(images, command, "weights: sha256:", query=None)


@pytest.mark.parametrize("tamper", OPTIONS_CHANGED)
def test_options_changed_under_the_same_version(
    images: Served, command: CommandLine, tamper: str
) -> None:
    options, says = OPTIONS_CHANGED[tamper]
    space = {key: value for key, value in {**IMAGE_SPACE, **options}.items() if value is not None}
    images.offer(images.rows, space)
    assert_refused_and_served(images, command, says, query=None)


CLIP_CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "resized to another side": ({"size": {"shortest_edge": 40}}, "preprocessing."),
    "another resampling": ({"resample": 0}, "resample 0"),
    "another mean": ({"image_mean": [0.5, 0.5, 0.5]}, "preprocessing."),
}


@pytest.fixture(scope="module")
def served_clip(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("clip")
    space = {"name": "text", "encoder": "./model", "image": "image"}
    return serve(folder, space, photos(folder), tiny_clip)


@pytest.mark.parametrize("tamper", CLIP_CHANGED)
def test_another_resize_rule(served_clip: Served, command: CommandLine, tamper: str) -> None:
    served_clip.restore()
    values, says = CLIP_CHANGED[tamper]
    found = [
        path for path in served_clip.model.rglob("*.json")
        if "image_mean" in path.read_text()
    ]  # fmt: skip
    assert found

    def change(settings: dict[str, Any]) -> None:
        settings.get("image_processor", settings).update(values)

    for path in found:
        edited(path.name, change)(path.parent)
    assert_refused_and_served(served_clip, command, says)


INT8_CHANGED: dict[str, tuple[Change, str]] = {
    "one bit of the int8 weights": (bit("model.bin"), "model.bin is not the file"),
    "one bit of the int8 network": (bit("model.xml"), "model.xml is not the file"),
    "another int8 tokenizer": (
        edited("tokenizer.json", lambda t: t["normalizer"].update(lowercase=False)),
        "tokenizer.json is not the file",
    ),
    "int8 weights gone": (gone("model.bin"), "lacks model.bin"),
    "the record cuts on the other side": (put("int8.json", side="left"), "preprocessing.cut"),
    "the record pads with another token": (
        edited("int8.json", lambda record: record["inputs"].update(pad=7)),
        "preprocessing.inputs.pad: 0 -> 7",
    ),
    "the record reads less": (
        edited("int8.json", lambda record: record["source"].update(max_tokens=16)),
        "max_tokens: 64 -> 16",
    ),
    "weights and record of another quantisation": (
        lambda folder: _requantised(folder), "files.model.xml",
    ),
}  # fmt: skip


def _requantised(folder: Path) -> None:
    bit("model.bin")(folder)
    xml = folder / "model.xml"
    xml.write_text(xml.read_text() + "<!-- other -->\n")
    record = json.loads((folder / "int8.json").read_text())
    for name in ("model.bin", "model.xml"):
        record["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "int8.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def served_int8(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    if importlib.util.find_spec("nncf") is None:
        pytest.skip('nncf is not installed: pip install "commonspace[quantise]"')
    from commonspace.encoders import catalog
    from commonspace.encoders.reference import EncoderReference

    folder = tmp_path_factory.mktemp("int8")
    texts = [row["text"] for row in ROWS[:20]]
    catalog.quantise(EncoderReference(str(tiny), "text"), folder / "made", texts, texts[:12])
    return serve(folder, TEXT_SPACE, ROWS[:8], folder / "made")


@pytest.mark.parametrize("tamper", INT8_CHANGED)
def test_an_int8_model_changed_in_place(
    served_int8: Served, command: CommandLine, tamper: str
) -> None:
    served_int8.restore()
    change, says = INT8_CHANGED[tamper]
    change(served_int8.model)
    assert_refused_and_served(served_int8, command, says)
