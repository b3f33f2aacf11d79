"""On a CPU in fp32 a vector is the same bits whatever was encoded beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.errors import DeviceOutOfMemory
from commonspace.encoders.protocol import Encoded, Encoder
from commonspace.encoders.text.batches import batches_by_length
from commonspace.encoders.text.encoder import TextEncoder

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1200)]


class HalfFull:
    """A device that has memory for three quarters of the first batches' cells, then for all."""

    name = "half full"

    def __init__(self, engine: Engine) -> None:
        self.engine, self.refused = engine, 0

    def run(self, batches: Iterable[Arrays]) -> Iterator[np.ndarray]:
        for batch in batches:
            if batch[0].size > 384:
                self.refused += 1
                raise DeviceOutOfMemory
            yield from self.engine.run([batch])


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    """2,000 news items and questions, 5 to 250 tokens long."""
    with (shared / "data/texts/ag-news/test.csv").open(encoding="utf-8", newline="") as file:
        news = [f"{row[1]} {row[2]}" for row in csv.reader(file)][1:1201]
    with (shared / "data/texts/banking77/test.csv").open(encoding="utf-8", newline="") as file:
        questions = [row[0] for row in csv.reader(file)][1:801]
    return news + questions


@pytest.fixture(scope="module")
def encoded(minilm: Encoder, texts: list[str]) -> Encoded:
    return minilm.encode(texts)


def test_two_thousand_texts_agree_in_every_bit(
    minilm: Encoder, texts: list[str], encoded: Encoded
) -> None:
    assert isinstance(minilm, TextEncoder)
    assert len(texts) == 2000
    full = encoded.vectors
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = minilm.encode([texts[place] for place in order]).vectors
    np.testing.assert_array_equal(shuffled, full[order])
    subset = minilm.encode(texts[::7]).vectors
    np.testing.assert_array_equal(subset, full[::7])
    resumed = [
        minilm.encode(texts[start : start + 311]).vectors for start in range(1000, 2000, 311)
    ]
    np.testing.assert_array_equal(np.concatenate(resumed), full[1000:])
    alone = [minilm.encode([text]).vectors[0] for text in texts[:50]]
    np.testing.assert_array_equal(np.stack(alone), full[:50])

    computation = minilm.computation
    engines, token_budget = computation.engines, computation.token_budget
    device = HalfFull(engines["document"])
    computation.engines = {"document": device, "query": device}
    try:
        halved = minilm.encode(texts).vectors
    finally:
        computation.engines, computation.token_budget = engines, token_budget
    assert device.refused > 0
    np.testing.assert_array_equal(halved, full)


def test_it_costs_a_tenth_of_padding_at_most(encoded: Encoded) -> None:
    lengths = [int(facts["tokens_used"]) for facts in encoded.facts]
    batches = batches_by_length(lengths, longest=256, token_budget=512, fill=False)
    padded = sum(batch.rows * batch.width for batch in batches)
    assert padded <= 1.1 * sum(lengths)
