"""Texts beyond the limit, kept dimensions, memory that runs out, half precision that overflows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.errors import DeviceOutOfMemory, EncoderNotFound
from commonspace.encoders.protocol import Content, Encoder, Reason
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.text.encoder import TextEncoder
from commonspace.encoders.vectors import angles, largest_angle

pytestmark = pytest.mark.models

SHORT = "A heron stands in the shallow water and waits for fish."
LONG = " ".join(f"Sentence {n} tells of river number {n * 7} and of its banks." for n in range(80))


@pytest.fixture(scope="module")
def whole(reference: Callable[[str], EncoderReference]) -> Encoder:
    return load(replace(reference("minilm"), overflow="mean"))


def test_mean_is_the_mean_of_windows_by_their_tokens(
    whole: Encoder, minilm: Encoder, minilm_folder: Path
) -> None:
    assert isinstance(whole, TextEncoder)
    vocabulary = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    (tokens,) = whole.tokenizer([LONG])
    texts = []
    for window in tokens.windows:  # each window as a text of its own
        texts.append(vocabulary.decode(window.ids.tolist()))
    weights = np.array([len(window.ids) for window in tokens.windows], dtype=np.float64)
    parts = minilm.encode(texts)
    assert [facts["tokens_total"] for facts in parts.facts] == weights.tolist()
    mean = (parts.vectors * weights[:, None]).sum(axis=0)
    result = whole.encode([LONG])
    expected = (mean / np.linalg.norm(mean)).astype(np.float32)[None]
    assert largest_angle(result.vectors, expected) < 1e-6
    (facts,) = result.facts
    assert facts["tokens_used"] == facts["tokens_total"] > 3 * 256
    assert facts["truncated"] is False
    assert facts["text_rules"] == f"mean-of-{len(weights)}-windows"


def test_a_text_of_one_window_keeps_its_bits(whole: Encoder, minilm: Encoder) -> None:
    beside, alone = whole.encode([LONG, SHORT]), minilm.encode([SHORT])
    np.testing.assert_array_equal(beside.vectors[1], alone.vectors[0])
    assert beside.facts[1] == alone.facts[0]
    assert whole.spec.fingerprint != minilm.spec.fingerprint


def test_the_end_of_a_long_text_is_seen(whole: Encoder, minilm: Encoder) -> None:
    """Cut, two texts with one beginning are the same; whole, they are not."""
    texts = [LONG + " Bread is baked at dawn.", LONG + " " + SHORT * 12]
    cut, seen = minilm.encode(texts), whole.encode(texts)
    assert largest_angle(cut.vectors[:1], cut.vectors[1:]) == 0
    assert largest_angle(seen.vectors[:1], seen.vectors[1:]) > 0.1
    assert [facts["truncated"] for facts in cut.facts] == [True, True]


def test_every_window_begins_with_the_prompt(
    minilm_folder: Path, tmp_path: Path, minilm: Encoder
) -> None:
    import json
    import shutil

    folder = tmp_path / "prompted"
    shutil.copytree(minilm_folder, folder)
    path = folder / "config_sentence_transformers.json"
    prompts = {"document": "passage: ", "query": "query: "}
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": prompts}))
    prompted = load(EncoderReference(str(folder), "text", overflow="mean"))
    assert isinstance(prompted, TextEncoder)
    (tokens,) = prompted.tokenizer([LONG], "passage: ")
    assert len(tokens.windows) > 3
    assert len({tuple(window.ids[:3].tolist()) for window in tokens.windows}) == 1
    assert max(len(window.ids) for window in tokens.windows) <= 256
    (as_document,) = prompted.encode([SHORT]).vectors
    (as_text,) = minilm.encode(["passage: " + SHORT]).vectors
    np.testing.assert_array_equal(as_document, as_text)


def test_kept_dimensions_are_the_first_made_unit(
    reference: Callable[[str], EncoderReference], minilm: Encoder
) -> None:
    kept = load(replace(reference("minilm"), dimensions=128))
    assert (kept.spec.dim, kept.spec.full_dim) == (128, 384)
    assert kept.spec.fingerprint != minilm.spec.fingerprint
    first = minilm.encode([SHORT, LONG]).vectors[:, :128]
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    assert largest_angle(kept.encode([SHORT, LONG]).vectors, first) < 1e-6


@pytest.mark.parametrize("options", [
    {"dimensions": 384}, {"dimensions": 385}, {"dimensions": 0}, {"overflow": "drop"},
    {"precision": "int8"}, {"precision": "fp8"}, {"layer": "layer3"},
])  # fmt: skip
def test_options_that_do_not_suit_are_refused(
    reference: Callable[[str], EncoderReference], options: dict[str, object]
) -> None:
    with pytest.raises(EncoderNotFound):
        describe(replace(reference("minilm"), **options))  # type: ignore[arg-type]


class SmallDevice:
    """A device that holds `cells` padded tokens, in front of a real engine."""

    name = "small"

    def __init__(self, engine: Engine, cells: int) -> None:
        self.engine, self.cells, self.refused = engine, cells, 0

    def run(self, batches: Iterable[Arrays]) -> Iterator[np.ndarray]:
        for batch in batches:
            if batch[0].size > self.cells:
                self.refused += 1
                raise DeviceOutOfMemory
            yield from self.engine.run([batch])


def test_a_full_device_halves_the_batch_and_changes_no_bit(
    reference: Callable[[str], EncoderReference], contents: dict[str, list[Content]]
) -> None:
    encoder = load(reference("minilm"))
    assert isinstance(encoder, TextEncoder)
    texts = [*contents["text"], SHORT]
    roomy = encoder.encode(texts)
    computation = encoder.computation
    device = SmallDevice(computation.engines["document"], cells=60)
    computation.engines = {"document": device, "query": device}
    tight = encoder.encode(texts)
    assert computation.token_budget < 512
    lengths = [int(facts["tokens_used"]) for facts in roomy.facts]
    assert max(lengths) > 60
    for row, length in enumerate(lengths):
        if length > 60:
            assert tight.failures[row].reason is Reason.ENCODER_FAILED
            assert tight.failures[row].retryable
    assert len(tight.failures) == sum(length > 60 for length in lengths)
    np.testing.assert_array_equal(tight.vectors, roomy.vectors[tight.positions])
    refused = device.refused
    encoder.encode([SHORT] * 40)
    assert device.refused == refused  # what fits was remembered


def test_rows_that_overflow_in_half_precision_are_computed_again(
    reference: Callable[[str], EncoderReference],
) -> None:
    import torch

    from commonspace.encoders.engines.torch_engine import TorchEngine

    encoder = load(reference("minilm"))
    assert isinstance(encoder, TextEncoder)

    class Large(torch.nn.Module):
        """Sums of up to 3e8, far beyond the 65,504 of fp16, for long texts only."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table = torch.nn.Embedding(31_000, 64)
            self.out = torch.nn.Linear(64, 384)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            rows = self.table(ids) * mask[:, :, None]
            scale = torch.where(mask.sum(dim=1, keepdim=True) > 50, 1e6, 1.0)
            return torch.nn.functional.normalize(self.out(rows.sum(dim=1) * scale), dim=1)

    network = Large()
    half, exact = TorchEngine(network, "cpu", "fp16"), TorchEngine(network, "cpu")
    computation = encoder.computation
    computation.engines = {"document": exact, "query": exact}
    expected = encoder.encode([SHORT, LONG])
    computation.engines = {"document": half, "query": half}
    computation.exact = {"document": exact, "query": exact}
    found = encoder.encode([SHORT, LONG])
    assert [facts["text_rules"] for facts in found.facts] == ["", "fp32-fallback"]
    assert 0 < angles(found.vectors, expected.vectors)[0] < 1e-2
    np.testing.assert_array_equal(found.vectors[1], expected.vectors[1])
    assert not found.failures
