"""A model that was changed, or is broken, is refused before the first row, in one message."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commonspace.pipeline.cli.app import main
from commonspace.pipeline.contract.layout import releases_folder
from commonspace.pipeline.read.space import open_space
from tests.support.warehouse import NAME

pytest.importorskip("torch")
pytestmark = pytest.mark.quality

Change = Callable[[Path], object]
WORDS = ["river", "stone", "lamp", "quiet", "engine", "violet", "seven", "harbour", "bread",
         "winter", "moss"]  # fmt: skip
WEIGHTS = "model.safetensors"
QUERY = "encoder.layer.0.attention.self.query.weight"
ROWS = [{"id": f"i{n}", "text": f"{WORDS[n % 11]} {WORDS[n // 11]} {n}"} for n in range(110)]
LONG = {"id": "long", "text": " ".join(WORDS * 10)}


# ---------------------------------------------------------------- a model made here


def build_model(
    folder: Path, *, seed: int = 0, layers: int = 2, words: Sequence[str] = WORDS
) -> Path:
    """A sentence-transformers folder of random weights: two layers of 24 dimensions."""
    import torch
    import transformers

    letters = [chr(code) for code in range(33, 127)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = [*special, *letters, *(f"##{letter}" for letter in letters), *words]
    tokenizer = transformers.BertTokenizer(
        vocab={word: number for number, word in enumerate(dict.fromkeys(known))},
        do_lower_case=True, model_max_length=64,
    )  # fmt: skip
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=24, intermediate_size=48, num_hidden_layers=layers,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    transformers.BertModel(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    modules = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    write = {
        "modules.json": [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (kind, path) in enumerate(modules.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": 24,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
        },
        "config_sentence_transformers.json": {"prompts": {}},
    }
    for name, value in write.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    return folder


def edited(name: str, change: Callable[[Any], object]) -> Change:
    """The JSON file with a change."""

    def act(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return act


def put(name: str, **values: Any) -> Change:
    return edited(name, lambda settings: settings.update(values))


def tensors(change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Change:
    """The weights file with a change."""

    def act(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        held = load_file(folder / name)
        change(held)
        save_file({k: t.contiguous() for k, t in held.items()}, folder / name, {"format": "pt"})

    return act


def every(change: Callable[[Any], Any]) -> Change:
    return tensors(lambda held: held.update({k: change(t) for k, t in held.items()}))


def bit(name: str, at: float = 0.7) -> Change:
    """One bit of the file turned over."""

    def act(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(len(data) * at)] ^= 1
        (folder / name).write_bytes(bytes(data))

    return act


def cut(name: str, keep: float) -> Change:
    def act(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return act


def gone(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    """The weights file under a header that says something else about the same bytes."""

    def act(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(data[:8], "little")
        said = json.loads(data[8 : 8 + length])
        change(said)
        written = json.dumps(said).encode()
        whole = len(written).to_bytes(8, "little") + written + data[8 + length :]
        (folder / WEIGHTS).write_bytes(whole)

    return act


def raw(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def another(**options: Any) -> Change:
    """The folder replaced by another model of the same name."""

    def act(folder: Path) -> None:
        shutil.rmtree(folder)
        build_model(folder, **options)

    return act


# ---------------------------------------------------------------- running


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    said: str


class Place:
    """A folder with a collection, its models and its warehouse, and the command run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def write(self, space: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
        lines = ["[collection]", 'name = "things"', 'owner = "tests"', "[source]", 'kind = "jsonl"',
                 'uri = "things.jsonl"', 'id = "id"', "[[space]]"]  # fmt: skip
        lines += [f"{key} = {json.dumps(value)}" for key, value in space.items()]
        (self.folder / "things.toml").write_text("\n".join(lines))
        (self.folder / "things.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    @property
    def published(self) -> dict[str, str]:
        """Every file of the warehouse but the runs' own, with its checksum; finished shards too."""
        warehouse = self.folder / "warehouse"
        return {
            str(path.relative_to(warehouse)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in warehouse.rglob("*")
            if path.is_file() and (".runs" not in path.parts or "shards" in path.parts)
        }


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    def run(place: Place, *arguments: str) -> Answer:
        monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(place.folder))
        monkeypatch.setenv("COMMONSPACE_WAREHOUSE", str(place.folder / "warehouse"))
        monkeypatch.setattr(sys, "argv", ["commonspace", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


def refused(answer: Answer, says: str) -> None:
    """Exit code 1 or 2, one message, no traceback; it names what is the matter."""
    assert answer.code in (1, 2), answer
    assert "Traceback" not in answer.said
    assert answer.said.count("commonspace: ") == 1, answer.said
    assert says in answer.said, answer.said


def shards(place: Place) -> list[str]:
    """What was encoded and is in no release; the canary's reference is none of it."""
    return [k for k in place.published if "shards" in k and not k.endswith("canary.parquet")]


# ---------------------------------------------------------------- changed under a release


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


@dataclass(frozen=True)
class Served:
    """A place with a release of a model in `model/`, and the model as it was."""

    place: Place
    space: Mapping[str, Any]
    pristine: Path
    rows: list[dict[str, Any]]

    @property
    def model(self) -> Path:
        return self.place.folder / "model"

    def restore(self) -> None:
        shutil.rmtree(self.model, ignore_errors=True)
        shutil.rmtree(self.place.folder / "other", ignore_errors=True)
        shutil.copytree(self.pristine, self.model)
        self.place.write(self.space, self.rows)


def serve(folder: Path, space: dict[str, Any], rows: list[dict[str, Any]], model: Path) -> Served:
    """Publish the first rows with `model`, leaving the others to encode."""
    served = Served(Place(folder), space, model, rows)
    served.restore()
    served.place.write(space, rows[:-2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMMONSPACE_WAREHOUSE", str(folder / "warehouse"))
        patch.setattr(sys, "argv", ["commonspace", "run", str(folder / "things.toml")])
        with pytest.raises(SystemExit, match="0"):
            main()
    assert numbers_of(served) == ["000001.json"]
    served.place.write(space, rows)
    return served


def numbers_of(served: Served) -> list[str]:
    folder = served.place.folder / "warehouse" / releases_folder(NAME)
    return sorted(path.name for path in folder.iterdir())


def assert_refused_and_served(
    served: Served, command: Callable[..., Answer], says: str, query: str | None = "river"
) -> None:
    """Nothing is encoded or published; what was served is served, but to no other query."""
    place = served.place
    before = place.published
    refused(command(place, "run", "things"), says)
    assert place.published == before
    assert not shards(place)
    space = open_space("things/text", warehouse=str(place.folder / "warehouse"))
    ids = [row["id"] for row in served.rows[:-2]]
    assert space.get(ids)["found"].to_pylist() == [True] * len(ids)
    assert len(space.search(id=ids[0], k=2)) == 2
    if query is not None:
        refused(command(place, "search", "things/text", query), says)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("tiny") / "model")


TEXT_SPACE = {"name": "text", "encoder": "./model", "fields": ["text"]}


@pytest.fixture(scope="module")
def served_text(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve(tmp_path_factory.mktemp("text"), TEXT_SPACE, [*ROWS[:10], LONG], tiny)


@pytest.fixture
def text(served_text: Served) -> Iterator[Served]:
    served_text.restore()
    yield served_text
    served_text.restore()


@pytest.mark.parametrize("tamper", TEXT_CHANGED)
def test_a_text_model_changed_in_place(
    text: Served, command: Callable[..., Answer], tamper: str
) -> None:
    change, says = TEXT_CHANGED[tamper]
    change(text.model)
    assert_refused_and_served(text, command, says)


def test_the_model_as_it_was_is_taken(
    tiny: Path, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    """What the refusals above rest on: copied anew, and with other words about it, it goes on."""
    served = serve(tmp_path / "place", TEXT_SPACE, ROWS[:12], tiny)
    served.restore()
    (served.model / "README.md").write_text("other words")
    answer = command(served.place, "run", "things", "--json")
    assert answer.code == 0, answer.said
    assert (
        json.loads(answer.out)[0]["ledger"] | {"encoded": 2, "kept": 10}
        == json.loads(answer.out)[0]["ledger"]
    )


# ---------------------------------------------------------------- images


def photos(folder: Path) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(5):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{number}.png")
    return [{"id": f"i{n}", "image": f"{n}.png"} for n in range(5)]


def build_network(path: Path, seed: int = 0, architecture: str = "resnet18") -> Path:
    import torch
    import torchvision
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    network = torchvision.models.get_model(architecture, weights=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path)
    return path


IMAGE_SPACE = {
    "name": "text", "encoder": "torchvision/resnet18", "weights": "./model/resnet18.safetensors",
    "image": "image", "layer": "layer2", "pooling": "average",
}  # fmt: skip
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


@pytest.fixture(scope="module")
def served_images(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("images")
    model = build_network(folder / "pristine/resnet18.safetensors").parent
    return serve(folder, IMAGE_SPACE, photos(folder), model)


@pytest.fixture
def images(served_images: Served) -> Iterator[Served]:
    served_images.restore()
    yield served_images
    served_images.restore()


@pytest.mark.parametrize("tamper", ["another training", "one bit"])
def test_an_image_model_changed_in_place(
    images: Served, command: Callable[..., Answer], tamper: str
) -> None:
    file = images.model / "resnet18.safetensors"
    if tamper == "one bit":
        bit(file.name)(images.model)
    else:
        build_network(file, seed=1)
    assert_refused_and_served(images, command, "weights: sha256:", query=None)


@pytest.mark.parametrize("tamper", OPTIONS_CHANGED)
def test_options_changed_under_the_same_version(
    images: Served, command: Callable[..., Answer], tamper: str
) -> None:
    options, says = OPTIONS_CHANGED[tamper]
    space = {key: value for key, value in {**IMAGE_SPACE, **options}.items() if value is not None}
    images.place.write(space, images.rows)
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
def test_another_resize_rule(
    served_clip: Served, command: Callable[..., Answer], tamper: str
) -> None:
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


# ---------------------------------------------------------------- int8 folders


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
    served_int8: Served, command: Callable[..., Answer], tamper: str
) -> None:
    served_int8.restore()
    change, says = INT8_CHANGED[tamper]
    change(served_int8.model)
    assert_refused_and_served(served_int8, command, says)


# ---------------------------------------------------------------- broken on a first run


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
    put("config.json", model_type="own", auto_map=own)(folder)


def _module(number: int, **values: Any) -> Change:
    return edited("modules.json", lambda modules: modules[number].update(values))


BROKEN: dict[str, tuple[Change, str]] = {
    "a missing tensor": (tensors(lambda held: held.pop(QUERY)), "1 weights are missing"),
    "a narrow tensor": (
        tensors(lambda held: held.update({QUERY: held[QUERY][:, :8]})), "query",
    ),
    "tensors of further layers": (put("config.json", num_hidden_layers=1), "encoder.layer.1"),
    "weights cut in half": (cut(WEIGHTS, 0.5), "cut off"),
    "weights without the last bytes": (cut(WEIGHTS, 0.9999), "cut off"),
    "weights cut in the header": (cut(WEIGHTS, 0.002), "cut off within its header"),
    "weights of no bytes": (cut(WEIGHTS, 0), "not a safetensors file"),
    "weights with more bytes": (
        lambda folder: (folder / WEIGHTS).open("ab").write(b"more"), "4 bytes follow",
    ),
    "a header of too few bytes": (header(_half_offset), WEIGHTS[:5]),
    "a header of overlapping tensors": (header(_overlap), "model"),
    "a header of another shape": (
        header(lambda said: said[QUERY].update(shape=[24, 48])), "model",
    ),
    "a header beyond the file": (
        header(lambda said: said[QUERY].update(data_offsets=[0, 10**12])), "cut off",
    ),
    "a header without an end": (
        header(lambda said: said[QUERY].update(data_offsets=[0, float("inf")])), "header",
    ),
    "a header of endless lists": (
        raw(WEIGHTS, (10**6).to_bytes(8, "little") + b"[" * 10**6), "header",
    ),
    "a git-lfs pointer": (
        raw(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "safetensors",
    ),
    "weights that are NaN": (every(lambda t: t * float("nan")), "makes no usable vectors"),
    "one weight that is infinite": (
        tensors(lambda held: held[QUERY].fill_(float("inf"))), "makes no usable vectors",
    ),
    "weights of zeros": (every(lambda t: t * 0), "makes no usable vectors"),
    "embeddings of zeros": (
        tensors(lambda held: [t.zero_() for key, t in held.items()
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
    "modules.json of another shape": (raw("modules.json", b'{"0": {}}'), "not a list of modules"),
    "config.json is no JSON": (raw("config.json", b"<html>404</html>"), "not JSON"),
    "config.json is missing": (gone("config.json"), "config.json"),
    "tokenizer.json is cut": (cut("tokenizer.json", 0.5), "tokenizer"),
    "no tokenizer": (gone("tokenizer.json", "tokenizer_config.json"), "tokenizer"),
    "the tokenizer of a larger model": (
        edited("tokenizer.json", lambda t: t["model"]["vocab"].update(enormous=30_000)),
        "has a token 30000",
    ),
    "no padding token": (
        put("tokenizer_config.json", pad_token=None), "no padding token",
    ),
    "a dim that does not fit": (
        put("1_Pooling/config.json", word_embedding_dimension=48), "makes 24 dimensions",
    ),
    "a dim that is a word": (
        put("1_Pooling/config.json", word_embedding_dimension="wide"), "a setting cannot be read",
    ),
    "more tokens than positions": (
        put("sentence_bert_config.json", max_seq_length=512), "know 64 positions",
    ),
    "prompts that are a list": (
        put("config_sentence_transformers.json", prompts=["query: "]), "a setting cannot be read",
    ),
    "an adapter": (raw("adapter_config.json", b"{}"), "an adapter"),
}  # fmt: skip


@pytest.mark.parametrize("tamper", BROKEN)
def test_a_broken_text_model_on_a_first_run(
    tiny: Path, tmp_path: Path, command: Callable[..., Answer], tamper: str
) -> None:
    change, says = BROKEN[tamper]
    place = Place(tmp_path / "place")
    shutil.copytree(tiny, place.folder / "model")
    change(place.folder / "model")
    place.write(TEXT_SPACE, [*ROWS[:10], LONG])
    answer = command(place, "run", "things")
    refused(answer, says)
    assert place.published == {}
    assert not list(place.folder.rglob("ran"))


def _zeros(file: Path) -> None:
    tensors(lambda held: [t.zero_() for t in held.values()], file.name)(file.parent)


def _nan(file: Path) -> None:
    tensors(lambda held: held["conv1.weight"].fill_(float("nan")), file.name)(file.parent)


def _short(file: Path) -> None:
    tensors(lambda held: held.pop("layer1.0.conv1.weight"), file.name)(file.parent)


def _as_pth(file: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(file), file.with_suffix(".pth"))


def _cut_pth(file: Path) -> None:
    _as_pth(file)
    cut("resnet18.pth", 0.6)(file.parent)


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
    served_images: Served, tmp_path: Path, command: Callable[..., Answer], tamper: str
) -> None:
    change, suffix, says = BROKEN_NETWORK[tamper]
    place = Place(tmp_path / "place")
    shutil.copytree(served_images.pristine, place.folder / "model")
    change(place.folder / "model/resnet18.safetensors")
    space = {**IMAGE_SPACE, "weights": f"./model/resnet18{suffix}"}
    place.write(space, photos(place.folder))
    refused(command(place, "run", "things"), says)
    assert place.published == {}
    assert not list(place.folder.rglob("ran"))
