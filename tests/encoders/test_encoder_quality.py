"""Known answers on real data: a wrong pooling, preprocessing or tokenizer fails here first."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders.protocol import Encoder

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1200)]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks with ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def test_stsb_spearman(minilm: Encoder, shared: Path) -> None:
    with (shared / "data/texts/stsb/en-test.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    left = minilm.encode([row[0] for row in rows]).vectors
    right = minilm.encode([row[1] for row in rows]).vectors
    truth = np.array([float(row[2]) for row in rows])
    spearman = np.corrcoef(_ranks((left * right).sum(axis=1)), _ranks(truth))[0, 1]
    assert spearman == pytest.approx(0.8203, abs=5e-4)


def test_cranfield_ndcg(minilm: Encoder, shared: Path) -> None:
    folder = shared / "data/texts/cranfield"
    documents = _elements(folder / "cran.all.1400.xml", "doc", "docno", "title", "text")
    queries = [text for _, text in _elements(folder / "cran.qry.xml", "top", "num", "title")]
    relevant: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for line in (folder / "cranqrel.trec.txt").read_text().split("\n"):
        if line.strip():
            query, _, document, grade = line.split()
            relevant[int(query)][int(document)] = int(int(grade) > 0)
    encoded = minilm.encode([text for _, text in documents])
    assert len(encoded.failures) == 2
    numbers = np.array([documents[p][0] for p in encoded.positions])
    scores = minilm.encode(queries, purpose="query").vectors @ encoded.vectors.T
    values = [
        _ndcg(numbers[np.argsort(-row)[:10]].tolist(), relevant[i])
        for i, row in enumerate(scores, start=1)
        if any(relevant[i].values())
    ]
    assert np.mean(values) >= 0.399


def _elements(path: Path, item: str, number: str, *parts: str) -> list[tuple[int, str]]:
    source = re.sub(r"<\?xml[^>]*\?>", "", path.read_text())
    root = ET.fromstring(f"<all>{source}</all>")
    return [
        (
            int(found.findtext(number, "").strip()),
            " ".join(found.findtext(part, "").strip() for part in parts),
        )
        for found in root.iter(item)
    ]


def _ndcg(ranking: list[int], grades: dict[int, int]) -> float:
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = np.array([grades.get(number, 0) for number in ranking])
    ideal = np.sort(list(grades.values()))[::-1][:10]
    return float((gains * discounts).sum() / (ideal * discounts[: len(ideal)]).sum())


@pytest.mark.parametrize(
    ("name", "least"), [("resnet18 local", 0.86), ("resnet50 local", 0.88), ("lite0", 0.885)]
)
def test_imagenette_neighbours(
    name: str, least: float, loaded: Callable[[str], Encoder], shared: Path
) -> None:
    chosen: Counter[str] = Counter()
    paths = []
    for path in sorted((shared / "data/photos-imagenette").glob("*.JPEG")):
        wnid = path.name.partition("_")[0]
        chosen[wnid] += 1
        if chosen[wnid] <= 50:
            paths.append(path)
    labels = np.array([path.name.partition("_")[0] for path in paths])
    vectors = loaded(name).encode([path.read_bytes() for path in paths]).vectors
    assert vectors.shape[0] == 500
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    nearest = np.argsort(-similarity, axis=1)[:, :10]
    precision = (labels[nearest] == labels[:, None]).mean()
    assert precision >= least
