"""Gates through whole runs: what holds is promoted, what does not leaves readers as they were."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.release.manifest import load_release
from tests.support.gate_reports import GATES, gate, refused, untouched
from tests.support.warehouse import NAME, Warehouse, numbered_items


def test_every_gate_is_in_the_report_and_in_the_manifest(warehouse: Warehouse) -> None:
    report = warehouse.run(numbered_items(30))
    assert [one["name"] for one in report["gates"]] == GATES
    assert all(one["ok"] and one["message"] for one in report["gates"])
    assert [dict(one) for one in load_release(warehouse.store, NAME, 1).gates] == report["gates"]
    assert gate(report, "spot_check")["value"] == 0.0
    assert "16 sampled rows" in gate(report, "spot_check")["message"]


def test_limits_have_defaults_and_unknown_ones_name_the_nearest(warehouse: Warehouse) -> None:
    limits = warehouse.collection(numbered_items(1)).gates
    assert limits == GatesSection(
        max_reject_share=0.01, max_deleted_share=0.2, max_duplicate_vectors=0.05,
        max_unknown_share=0.05, max_drift=0.25, min_golden_recall=1.0, spot_rows=16,
    )  # fmt: skip
    for wrong, said in {
        "max_drifts": "did you mean 'max_drift'?", "spot_row": "did you mean 'spot_rows'?",
        "golden_recall": "did you mean 'min_golden_recall'?",
    }.items():  # fmt: skip
        with pytest.raises(UserMistake, match=re.escape(said)):
            warehouse.collection(numbered_items(1), gates={wrong: 1})
    for value in ({"max_drift": 1.1}, {"spot_rows": -1}, {"max_duplicate_vectors": -0.1}):
        with pytest.raises(UserMistake, match="gates"):
            warehouse.collection(numbered_items(1), gates=value)


def test_a_run_that_encodes_nothing_measures_no_vector(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {"gates": {"max_deleted_share": 1.0}}
    warehouse.run(numbered_items(30), **options)
    for data in (numbered_items(30), numbered_items(25)):
        report = warehouse.run(data, **options)
        assert all(one["ok"] for one in report["gates"])
        for name in (
            "duplicate_vectors",
            "unknown_share",
            "drift",
            "golden",
            "spot_check",
            "canary",
        ):
            assert gate(report, name)["value"] is None
        said = gate(report, "spot_check")["message"]
        assert said == "nothing was encoded; nothing was re-encoded"


def shouting(count: int) -> list[dict[str, Any]]:
    """The texts of `rows` in capitals: other content, which a case-blind encoder cannot tell."""
    return [{"id": f"loud{n}", "text": f"THE TEXT OF ITEM {n}"} for n in range(count)]


def test_unlike_contents_with_one_vector_are_refused(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(40))
    before = untouched(warehouse)
    report = warehouse.run([*numbered_items(40), *shouting(10)])
    said = refused(report, "duplicate_vectors")
    assert "20 of 50 rows have a vector that other content has too" in said
    assert "look whether the encoder can tell" in said
    assert untouched(warehouse) == before
    limit = {"max_duplicate_vectors": 0.4}
    report = warehouse.run([*numbered_items(40), *shouting(10)], gates=limit)
    assert gate(report, "duplicate_vectors")["value"] == pytest.approx(0.4)
    assert report["state"] == "promoted"


def test_rows_that_leave_do_not_count(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {"gates": {"max_deleted_share": 1.0}}
    warehouse.run(numbered_items(40), **options)
    report = warehouse.run(shouting(40), **options)
    assert gate(report, "duplicate_vectors")["value"] == 0.0


def test_identical_contents_are_no_duplicates(warehouse: Warehouse) -> None:
    data = [{"id": f"o'{n}\" -- \\", "text": "the same text"} for n in range(5000)]
    report = warehouse.run(data, gates={"max_duplicate_vectors": 0.0})
    assert gate(report, "duplicate_vectors")["value"] == 0.0
    assert "0 of 5000 rows" in gate(report, "duplicate_vectors")["message"]
    report = warehouse.run([*data, {"id": "one", "text": "another"}])
    assert "0 of 5001 rows" in gate(report, "duplicate_vectors")["message"]
    assert len(warehouse.open()) == 5001


def test_one_row_and_then_none(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {
        "gates": {"max_deleted_share": 1.0, "max_reject_share": 1.0, "spot_rows": 1000}
    }
    report = warehouse.run([{"id": "\"'; --", "text": "only"}], **options)
    assert report["state"] == "promoted"
    assert gate(report, "duplicate_vectors")["value"] == 0.0
    report = warehouse.run([{"id": "\"'; --", "text": "  "}], **options)
    assert report["ledger"]["rejected"] == 1
    assert len(warehouse.open()) == 0
    report = warehouse.run([{"id": "\"'; --", "text": "again"}], **options)
    assert all(one["ok"] for one in report["gates"])
    assert len(warehouse.open()) == 1


def test_a_batch_of_one_thing_over_and_over_is_drift(warehouse: Warehouse) -> None:
    words = ["river", "stone", "lamp", "quiet", "engine", "violet", "seven", "harbour"]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 6)) + f" {n}" for n in range(900)]
    data = [{"id": f"i{n}", "text": text} for n, text in enumerate(texts)]
    warehouse.run(data[:300])
    report = warehouse.run(data[:600])
    assert gate(report, "drift")["value"] < 0.01
    boilerplate = "an error has occurred, please sign in again to see this page, code "
    errors = [{"id": f"e{n}", "text": f"{boilerplate}{n}"} for n in range(300)]
    before = untouched(warehouse)
    report = warehouse.run([*data[:600], *errors])
    said = refused(report, "drift")
    assert "look what changed in the source" in said
    assert untouched(warehouse) == before
    report = warehouse.run([*data[:600], *errors], gates={"max_drift": 1.0})
    assert gate(report, "drift")["value"] > 0.25
    assert report["state"] == "promoted"
