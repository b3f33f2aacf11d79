"""Small models of random weights, and changes to their files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.pipeline.encode.file_changes import Change

WORDS = ["river", "stone", "lamp", "quiet", "engine", "violet", "seven", "harbour", "bread",
         "winter", "moss"]  # fmt: skip
ROWS = [{"id": f"i{n}", "text": f"{WORDS[n % 11]} {WORDS[n // 11]} {n}"} for n in range(110)]
LONG = {"id": "long", "text": " ".join(WORDS * 10)}
QUERY = "encoder.layer.0.attention.self.query.weight"


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


def another(**options: Any) -> Change:
    """The folder replaced by another model of the same name."""

    def act(folder: Path) -> None:
        shutil.rmtree(folder)
        build_model(folder, **options)

    return act


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
