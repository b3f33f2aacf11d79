"""The contract knows what an encoder is fed: one table is made of the same columns throughout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import Encoded, Failure, Reason
from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.layout import release_key, spec_key
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.publish.manual import promote_by_hand
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.read.catalog import list_spaces
from commonspace.pipeline.release.contract_check import record_recipe
from commonspace.pipeline.release.manifest import canonical_digest, load_release
from commonspace.pipeline.source.records import EVERYTHING, Scope, sha256_hex
from commonspace.pipeline.validate.stage import validate_stage
from tests.support.collection_file import TEXT_SPACE, jsonl
from tests.support.warehouse import NAME, Warehouse

ROWS = {
    partition: [
        {
            "id": f"{partition}{n}",
            "title": f"title {partition}{n} harbour {n}",
            "text": f"A long body about lamp {n} number {partition}{n}",
            "cover": f"{n}.jpg",
            "thumb": f"{n + 1}.jpg",
        }
        for n in range(6)
    ]
    for partition in "ab"
}
FILES = {f"p/{partition}.jsonl": jsonl(rows) for partition, rows in ROWS.items()}
FILES |= {f"p/{n}.jpg": f"bytes of {n}".encode() for n in range(7)}
GATES = {"max_duplicate_vectors": 1.0, "max_drift": 1.0, "max_reject_share": 1.0}
PARTITION, ONE_ID = Scope(partition="a"), Scope(ids=frozenset(["b3"]))


def run(
    warehouse: Warehouse, scope: Scope = EVERYTHING, *, files: Any = FILES, **space: Any
) -> dict[str, Any]:
    """The report of a run in which the space is fed with these columns."""
    return warehouse.run_without_error(
        spaces=[{"name": "text", "encoder": "hashed/64", **space}],
        source={"uri": "p/{partition}.jsonl"},
        files=files,
        scope=scope,
        gates=GATES,
    )


def refused(warehouse: Warehouse, scope: Scope = EVERYTHING, **space: Any) -> list[str]:
    """What a run is refused for; what is served stays whole and as it was."""
    before = warehouse.open().to_arrow()
    with pytest.raises(ContractBroken) as refusal:
        run(warehouse, scope, **space)
    assert "version = 2" in refusal.value.do
    assert warehouse.open().to_arrow().equals(before)
    return [line.strip() for line in refusal.value.what.splitlines()[1:]]


@pytest.mark.parametrize("scope", [EVERYTHING, PARTITION, ONE_ID], ids=str)
@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        (["title"], ["text"], "fields: title -> text"),
        (["title", "text"], ["text", "title"], "fields: title, text -> text, title"),
        (["title"], ["title", "text"], "fields: title -> title, text"),
    ],
)
def test_other_fields_are_another_contract(
    warehouse: Warehouse, before: list[str], after: list[str], difference: str, scope: Scope
) -> None:
    run(warehouse, fields=before)
    assert refused(warehouse, scope, fields=after) == [difference]
    assert run(warehouse, scope, fields=before)["state"] == "unchanged"
    assert run(warehouse, fields=after, version=2)["ledger"]["encoded"] == 12


def test_another_image_column_is_another_contract(warehouse: Warehouse) -> None:
    run(warehouse, image="cover")
    assert refused(warehouse, PARTITION, image="thumb") == ["image: cover -> thumb"]
    lines = refused(warehouse, fields=["text"])
    assert {"fields: nothing -> text", "image: cover -> nothing"} <= set(lines)


def test_so_are_passages_of_other_fields(warehouse: Warehouse) -> None:
    run(warehouse, fields=["text"], overflow="rows")
    lines = refused(warehouse, fields=["text", "title"], overflow="rows")
    assert lines == ["fields: text -> text, title"]


def test_another_rule_is_another_contract(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(warehouse, fields=["text"])
    monkeypatch.setattr("commonspace.pipeline.source.content.TEXT_RULE", "words-nfkc-2")
    lines = refused(warehouse, PARTITION, fields=["text"])
    assert lines == ["content rule: lines-nfc-1 -> words-nfkc-2"]


def test_consumers_are_told_what_was_embedded(warehouse: Warehouse) -> None:
    run(warehouse, fields=["title", "text"])
    recipe = Recipe(fields=("title", "text"), rule="lines-nfc-1")
    assert warehouse.open().recipe == recipe
    release = load_release(warehouse.store, NAME, 1)
    assert release.recipe == recipe.to_json()
    (shown,) = list_spaces(warehouse.store, [])
    assert shown["recipe"] == {"fields": ["title", "text"], "image": None, "rule": "lines-nfc-1"}
    assert Recipe.from_json(json.loads(json.dumps(shown["recipe"]))) == recipe


def forget_recipe(warehouse: Warehouse) -> None:
    """The space as commits wrote it that recorded no recipe."""
    spec = json.loads((warehouse.root / spec_key(NAME)).read_text())
    del spec["recipe"]
    _write(warehouse, spec_key(NAME), spec)
    release = json.loads((warehouse.root / release_key(NAME, 1)).read_text())
    for key in ("recipe", "columns", "notices", "sha256"):
        del release[key]
    _write(warehouse, release_key(NAME, 1), {**release, "sha256": canonical_digest(release)})


def _write(warehouse: Warehouse, key: str, document: Any) -> None:
    text = json.dumps(document, sort_keys=True, indent=1) + "\n"
    (warehouse.root / key).write_text(text)


def recipe_notices(report: dict[str, Any]) -> Sequence[str]:
    return [n["about"] for n in report["notices"] if n["kind"].startswith("recipe_")]


def test_an_earlier_space_is_completed_by_a_run_of_everything(warehouse: Warehouse) -> None:
    run(warehouse, fields=["title"])
    forget_recipe(warehouse)
    spec_before = (warehouse.root / spec_key(NAME)).read_bytes()
    assert warehouse.open().recipe is None
    assert list_spaces(warehouse.store, [])[0]["recipe"] is None
    more = {**FILES, "p/a.jsonl": jsonl([*ROWS["a"], {"id": "new", "title": "one more"}])}
    report = run(warehouse, PARTITION, fields=["title"], files=more)
    (said,) = recipe_notices(report)
    assert said.startswith("which columns were embedded is not recorded yet")
    assert (warehouse.root / spec_key(NAME)).read_bytes() == spec_before
    assert load_release(warehouse.store, NAME, report["release"]).recipe is None
    report = run(warehouse, fields=["title"], files=more)
    assert report["state"] == "unchanged"
    (said,) = recipe_notices(report)
    assert said == (
        "fields title (lines-nfc-1), as the collection file says; 13 of 13 published rows have "
        "such content; it binds once readers see the release, if no row stays unread"
    )
    assert warehouse.open().recipe == Recipe(fields=("title",), rule="lines-nfc-1")
    assert not recipe_notices(run(warehouse, fields=["title"], files=more))
    assert refused(warehouse, PARTITION, fields=["text"]) == ["fields: title -> text"]
    assert warehouse.verify()["ok"]


def test_each_release_says_what_it_was_made_of(warehouse: Warehouse) -> None:
    """What is recorded later says nothing of the releases before."""
    run(warehouse, fields=["title"])
    forget_recipe(warehouse)
    some = {**FILES, "p/b.jsonl": jsonl(ROWS["b"][:5])}
    report = run(warehouse, fields=["title"], files=some)
    recipe = Recipe(fields=("title",), rule="lines-nfc-1")
    assert (report["release"], warehouse.open().recipe) == (2, recipe)
    assert warehouse.open().at(1).recipe is None
    assert warehouse.open().at(1).at(2).recipe == recipe


def test_a_wrong_file_at_the_completion_binds_nobody(warehouse: Warehouse) -> None:
    """The owner may still put it right."""
    run(warehouse, fields=["title"])
    forget_recipe(warehouse)
    (said,) = recipe_notices(run(warehouse, fields=["text"]))
    assert said.startswith("none of 12 published rows is made of fields text (lines-nfc-1)")
    assert warehouse.open().recipe is None
    (said,) = recipe_notices(run(warehouse, fields=["title"]))
    assert said.startswith("none of 12")
    (said,) = recipe_notices(run(warehouse, fields=["title"]))
    assert "12 of 12 published rows" in said
    assert warehouse.open().recipe == Recipe(fields=("title",), rule="lines-nfc-1")


def test_a_candidate_records_nothing_until_it_is_served(warehouse: Warehouse) -> None:
    run(warehouse, fields=["title"])
    forget_recipe(warehouse)
    some = {**FILES, "p/b.jsonl": jsonl(ROWS["b"][:5])}
    spaces = [{"name": "text", "encoder": "hashed/64", "fields": ["title"]}]
    source = {"uri": "p/{partition}.jsonl"}
    warehouse.run_spaces(spaces=spaces, source=source, files=some, gates=GATES, promote=False)
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    assert contract.recipe is None
    promote_by_hand(warehouse.store, NAME)
    assert load_contract(warehouse.store, NAME).recipe == warehouse.open().recipe  # type: ignore[union-attr]
    assert warehouse.open().recipe is not None


def test_a_row_that_stays_unread_leaves_the_recipe_unknown(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content failed for a reason that may pass, so that its old vector stays."""
    run(warehouse, fields=["title"])
    forget_recipe(warehouse)
    encode = HashedEncoder.encode

    def failing(self: HashedEncoder, contents: Any, **options: Any) -> Encoded:
        encoded, failure = (
            encode(self, contents, **options),
            Failure(Reason.KILLED_ENCODER, "x", True),
        )
        torn = [n for n, content in enumerate(contents) if content == "torn"]
        kept = [row for row, n in enumerate(encoded.positions) if n not in torn]
        return Encoded(
            encoded.vectors[kept], encoded.positions[kept],
            [encoded.facts[row] for row in kept], dict.fromkeys(torn, failure),
        )  # fmt: skip

    rows = [{**ROWS["a"][0], "title": "torn"}, *ROWS["a"][1:]]
    with monkeypatch.context() as broken:
        broken.setattr(HashedEncoder, "encode", failing)
        run(warehouse, fields=["title"], files={**FILES, "p/a.jsonl": jsonl(rows)})
    assert warehouse.open().recipe is None


def test_a_recipe_is_recorded_once(warehouse: Warehouse) -> None:
    run(warehouse, fields=["title"])
    forget_recipe(warehouse)
    for fields in (("title",), ("text",)):
        record_recipe(warehouse.store, NAME, Recipe(fields=fields, rule="r"))
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    assert contract.recipe == Recipe(fields=("title",), rule="r")


def test_a_file_that_changes_during_a_run_changes_no_recipe(warehouse: Warehouse) -> None:
    """What is published is what was pulled, whatever the file says when it is published."""
    rows = ROWS["a"]
    work, shards = warehouse.planned(
        warehouse.collection(rows, spaces=[{**TEXT_SPACE, "fields": ["title"]}]), "run"
    )
    encode_stage(work, shards)
    validate_stage(work)
    publish_stage(warehouse.work(warehouse.collection(rows), "run"))
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    assert contract.recipe is not None
    assert contract.recipe.fields == ("title",)


def test_shards_of_other_fields_are_not_taken_for_finished(warehouse: Warehouse) -> None:
    """A first run that died before it published binds nobody, and leaves no vector behind."""
    rows = ROWS["a"]
    titles = warehouse.collection(rows, spaces=[{**TEXT_SPACE, "fields": ["title"]}])
    work, shards = warehouse.planned(titles, "died")
    assert encode_stage(work, shards) == shards
    report = warehouse.run_without_error(rows)
    assert report["ledger"]["encoded"] == len(rows)
    space = warehouse.open()
    assert space.recipe == Recipe(fields=("text",), rule="lines-nfc-1")
    digests = {sha256_hex(str(row["text"])) for row in rows}
    assert set(space.to_arrow()["content_digest"].to_pylist()) == digests
