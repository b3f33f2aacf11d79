"""The life of releases: candidates, promotion by hand, rollback, pins, versions of a space."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished, UserMistake
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.promote import announced
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.release.history import list_releases, states
from commonspace.pipeline.release.manifest import number_ranges, numbers
from commonspace.pipeline.release.pins import pin, pins, unpin
from commonspace.pipeline.release.pointer import current
from commonspace.pipeline.release.retirement import retire, revive
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.store import Store, open_store
from commonspace.pipeline.workspace.work import Run
from tests.support.checkout import REPOSITORY

NAME = SpaceName("things", "text", 1)


def rows(count: int, word: str = "text") -> list[dict[str, Any]]:
    return [{"id": f"i{n:03}", "text": f"{word} of item {n}"} for n in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "warehouse"))


def go(collection: Any, store: Store, **options: Any) -> dict[str, Any]:
    run = Run(new_run_id(), collection, store, quiet=True)
    return run_collection(run, list(collection.space), log=lambda _: None, **options)[0]


def opened(store: Store, name: str = "things/text") -> Space:
    return open_space(name, warehouse=store.address)


def in_lance(store: Store) -> set[str]:
    """The ids that a plain LanceDB client sees."""
    table = connect(store.address).open_table(NAME.table)
    return set(table.to_arrow()["id"].to_pylist())


def found(store: Store) -> dict[int, str]:
    return {one.number: one.state for one in list_releases(store, NAME)}


def three(make_collection: Any, store: Store, **options: Any) -> None:
    """Releases 1, 2 and 3, of as many rows as their number times ten."""
    for number in (1, 2, 3):
        go(make_collection(rows(10 * number), **options), store)


def test_states_are_a_function_of_parents_and_history() -> None:
    parents = {1: 0, 2: 1, 3: 1, 4: 2, 5: 4, 6: 4, 7: 6}
    assert states(parents, 4, [1, 2]) == {
        1: "retired", 2: "retired", 3: "superseded", 4: "current", 5: "candidate", 6: "retired",
        7: "superseded",
    }  # fmt: skip
    assert states({1: 0}, 0, []) == {1: "candidate"}
    assert states({1: 0, 2: 1}, 1, [2]) == {1: "current", 2: "retired"}
    assert states({}, 0, []) == {}


def test_numbers_are_spoken() -> None:
    assert number_ranges([7, 1, 3, 4, 5]) == "1, 3 to 5, 7"
    assert number_ranges([]) == "none"


def test_a_candidate_waits_for_its_owner(make_collection: Any, store: Store) -> None:
    go(make_collection(rows(10)), store)
    report = go(make_collection(rows(12)), store, promote=False)
    assert report["state"] == "candidate"
    assert len(opened(store)) == 10
    assert in_lance(store) == {row["id"] for row in rows(10)}
    assert found(store) == {1: "current", 2: "candidate"}
    done = promote_by_hand(store, NAME)
    assert (done.release, done.before, done.moved) == (2, 1, True)
    assert len(opened(store)) == 12
    assert found(store) == {1: "retired", 2: "current"}
    assert verify_space(store, "things/text")["ok"]
    with pytest.raises(UserMistake, match="no candidate"):
        promote_by_hand(store, NAME)


def test_the_collection_file_says_who_promotes(make_collection: Any, store: Store) -> None:
    spaces = [
        {"name": "text", "encoder": "hashed/64", "fields": ["text"], "promote": "auto"},
        {"name": "other", "encoder": "hashed/32", "fields": ["text"]},
    ]
    collection = make_collection(rows(5), spaces=spaces)
    file = Path(collection.path)
    file.write_text(file.read_text().replace("[collection]", '[collection]\npromote = "manual"'))
    collection = load_collection(file)
    run = Run(new_run_id(), collection, store, quiet=True)
    reports = run_collection(run, list(collection.space), log=lambda _: None)
    assert [report["state"] for report in reports] == ["promoted", "candidate"]
    assert go(collection, store, promote=True)["state"] == "unchanged"
    assert len(opened(store, "things/other")) == 5


def test_a_task_leaves_a_candidate_and_says_so(make_collection: Any, store: Store) -> None:
    space = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "promote": "manual"}
    collection = make_collection(rows(5), spaces=[space])

    def task(stage: str, shards: tuple[int, ...] = ()) -> dict[str, Any]:
        return run_stage(stage, collection, store, "a", "text/v1", None, shards)

    run_stage("pull", collection, store, "a", None, None, ())
    task("plan")
    task("encode", (0,))
    for stage in ("validate", "publish"):
        task(stage)
    told = task("promote")
    assert (told["promoted"], told["waits"], told["release"]) == (False, True, 1)
    assert task("report")["state"] == "candidate"
    promote_by_hand(store, NAME)
    assert task("promote")["waits"] is False


def test_what_was_approved_is_promoted_and_nothing_else(make_collection: Any, store: Store) -> None:
    def waiting(run: str, count: int) -> Any:
        collection = make_collection(rows(count))
        run_stage("pull", collection, store, run, None, None, ())
        for stage in ("plan", "encode", "validate", "publish"):
            run_stage(stage, collection, store, run, "text/v1", None, ())
        return collection

    first = waiting("a", 5)
    other = waiting("b", 6)
    for _ in range(2):  # a try that was killed before it could tell anybody is repeated
        told = run_stage("approved", first, store, "a", "text/v1", None, ())
        assert (told["promoted"], told["waits"], told["release"]) == (True, False, 1)
    report = run_stage("report", first, store, "a", "text/v1", None, ())
    assert (report["state"], report["promoted"]) == ("promoted", True)
    with pytest.raises(Conflict, match="release 1 has been promoted meanwhile") as late:
        run_stage("approved", other, store, "b", "text/v1", None, ())
    assert not late.value.retry
    assert found(store) == {1: "current", 2: "superseded"}


def test_the_next_run_supersedes_a_waiting_candidate(make_collection: Any, store: Store) -> None:
    go(make_collection(rows(10)), store)
    go(make_collection(rows(11)), store, promote=False)
    report = go(make_collection(rows(12)), store, promote=False)
    assert report["ledger"]["kept"] == 10  # it plans from what is served
    assert found(store) == {1: "current", 2: "superseded", 3: "candidate"}
    promote_by_hand(store, NAME)
    with pytest.raises(Conflict, match="release 3 has been promoted meanwhile"):
        promote_by_hand(store, NAME, 2)
    with pytest.raises(UserMistake, match="was served before"):
        promote_by_hand(store, NAME, 1)
    assert found(store) == {1: "retired", 2: "superseded", 3: "current"}


def test_a_candidate_is_not_made_twice(make_collection: Any, store: Store) -> None:
    go(make_collection(rows(10)), store)
    for _ in range(2):
        go(make_collection(rows(12)), store, promote=False)
    assert numbers(store, NAME) == [1, 2]


def test_rolling_back_moves_both_tables(make_collection: Any, store: Store) -> None:
    three(make_collection, store)
    reader = opened(store)
    done = roll_back(store, NAME)
    assert (done.release, done.before) == (2, 3)
    assert len(opened(store)) == 20
    assert in_lance(store) == {row["id"] for row in rows(20)}
    assert found(store) == {1: "retired", 2: "current", 3: "retired"}
    assert verify_space(store, "things/text")["ok"]
    assert all(reader.get([row["id"] for row in rows(30)])["found"].to_pylist())
    roll_back(store, NAME)
    assert found(store) == {1: "current", 2: "retired", 3: "retired"}
    with pytest.raises(UserMistake, match="release 1 is the first"):
        roll_back(store, NAME)
    assert roll_back(store, NAME, 3).before == 1
    assert len(opened(store)) == 30


def test_the_run_after_a_rollback_plans_from_what_is_served(
    make_collection: Any, store: Store
) -> None:
    three(make_collection, store)
    roll_back(store, NAME)
    report = go(make_collection(rows(25)), store)
    assert (report["release"], report["ledger"]["kept"]) == (4, 20)
    assert found(store) == {1: "retired", 2: "current", 3: "retired", 4: "candidate"}
    promote_by_hand(store, NAME)
    assert found(store) == {1: "retired", 2: "retired", 3: "retired", 4: "current"}
    assert roll_back(store, NAME).release == 2


def test_an_unchanged_plan_does_not_undo_a_rollback(make_collection: Any, store: Store) -> None:
    """The run was planned when release 3 was served, and finds nothing new."""
    three(make_collection, store)
    collection = make_collection(rows(30))
    run_stage("pull", collection, store, "late", None, None, ())
    for stage in ("plan", "encode", "validate", "publish"):
        run_stage(stage, collection, store, "late", "text/v1", None, ())
    roll_back(store, NAME)
    told = run_stage("promote", collection, store, "late", "text/v1", None, ())
    assert (told["promoted"], told["waits"]) == (False, True)
    assert told["ledger"]["kept"] == 20  # planned again, from release 2


def test_what_was_never_served_is_not_rolled_back_to(make_collection: Any, store: Store) -> None:
    with pytest.raises(NotPublished):
        roll_back(store, NAME)
    go(make_collection(rows(10)), store)
    go(make_collection(rows(11)), store, promote=False)
    with pytest.raises(UserMistake, match="never served"):
        roll_back(store, NAME, 2)
    with pytest.raises(NotPublished, match=r"there is no release 9 \(kept: 1 to 2\)"):
        roll_back(store, NAME, 9)


def test_releases_say_what_they_changed(make_collection: Any, store: Store) -> None:
    options = {"gates": {"max_deleted_share": 1.0}}
    go(make_collection(rows(10), **options), store)
    data = [{"id": "i000", "text": "another text"}, *rows(8)[1:], {"id": "new", "text": "new"}]
    go(make_collection(data, **options), store)
    first, second = opened(store).releases()
    assert (first.added, first.changed, first.removed) == (10, 0, 0)
    assert (second.added, second.changed, second.removed) == (1, 1, 2)
    assert second.promoted_at is not None
    assert second.parent == 1


def test_another_release_is_read_from_parquet(make_collection: Any, store: Store) -> None:
    options: dict[str, Any] = {"source": {"metadata": ["text", "tag"]}}
    old = [{**row, "tag": "even" if n % 2 == 0 else "odd"} for n, row in enumerate(rows(30))]
    go(make_collection(old, **options), store)
    table = opened(store)
    go(make_collection([{**row, "text": "else"} for row in old], **options), store)
    kept = opened(store).at(1)
    assert kept.to_arrow().equals(table.to_arrow())
    for where in (None, {"tag": "odd"}, {"tag": "none"}):
        one = kept.search("text of item 3", k=5, where=where)
        other = table.search("text of item 3", k=5, where=where)
        assert one.schema.names == other.schema.names
        assert one["similarity"].to_pylist() == pytest.approx(other["similarity"].to_pylist())
    ids = ["i003", "no such id", "i001"]
    assert kept.get(ids).to_pylist() == table.get(ids).to_pylist()
    assert kept.search(id="i003", k=3)["id"].to_pylist() != []
    with pytest.raises(UserMistake, match="SQL condition"):
        kept.search("x", where="tag = 'odd'")
    with pytest.raises(NotPublished, match="kept: 1 to 2"):
        kept.at(7)
    assert kept.at(1) is kept
    go(make_collection(old[:3], gates={"max_deleted_share": 1.0}, **options), store, promote=False)
    candidate = opened(store).at(3)
    assert candidate.get(["i001"])["found"].to_pylist() == [True]


def test_pins_have_a_reason_and_stand(make_collection: Any, store: Store) -> None:
    go(make_collection(rows(5)), store)
    made = pin(store, NAME, 1, "paper")
    assert pin(store, NAME, 1, "another reason") == made
    assert pins(store, NAME)[1].reason == "paper"
    assert list_releases(store, NAME)[0].pinned == "paper"
    unpin(store, NAME, 1)
    with pytest.raises(UserMistake, match="not pinned"):
        unpin(store, NAME, 1)
    with pytest.raises(NotPublished):
        pin(store, NAME, 2)
    assert not pins(store, NAME)


def test_two_versions_live_side_by_side(make_collection: Any, store: Store) -> None:
    old = {"name": "text", "encoder": "hashed/64", "fields": ["text"]}
    new = {"name": "text", "encoder": "hashed/32", "fields": ["text"]}
    go(make_collection(rows(10), spaces=[old]), store)
    before = opened(store, "things/text/v1").to_arrow()
    with pytest.raises(ContractBroken, match="dim: 64 -> 32") as refusal:
        go(make_collection(rows(10), spaces=[new]), store)
    assert "version = 2" in refusal.value.do
    both = make_collection(rows(10), spaces=[old, {**new, "version": 2}])
    run = Run(new_run_id(), both, store, quiet=True)
    reports = run_collection(run, list(both.space), log=lambda _: None)
    assert [report["state"] for report in reports] == ["unchanged", "promoted"]
    assert opened(store, "things/text/v1").to_arrow().equals(before)
    assert opened(store, "things/text").spec.dim == 32
    more = make_collection(rows(15), spaces=[old, {**new, "version": 2}])
    run_collection(Run(new_run_id(), more, store, quiet=True), list(more.space),
                   log=lambda _: None)  # fmt: skip
    assert [len(opened(store, f"things/text/v{n}")) for n in (1, 2)] == [15, 15]


def test_a_retired_version_warns_readers_and_refuses_runs(
    make_collection: Any, store: Store
) -> None:
    collection = make_collection(rows(10))
    go(collection, store)
    retire(store, NAME, "replaced by v2")
    with pytest.warns(FutureWarning, match=r"things/text/v1 was retired .*: replaced by v2"):
        assert len(opened(store)) == 10
    with pytest.raises(UserMistake, match="retired"):
        go(collection, store)
    with pytest.raises(UserMistake, match="retired"):
        promote_by_hand(store, NAME)
    revive(store, NAME)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert go(collection, store)["state"] == "unchanged"
        opened(store)


def test_the_highest_version_alive_is_the_one_that_is_meant(
    make_collection: Any, store: Store
) -> None:
    space = {"name": "text", "encoder": "hashed/64", "fields": ["text"]}
    for version in (1, 2):
        go(make_collection(rows(version), spaces=[{**space, "version": version}]), store)
    retire(store, SpaceName("things", "text", 2))
    assert opened(store).name == "things/text/v1"


# Stops the process before the n-th change of the pointer and of the announcement.
KILLER = """
import os, signal, sys
left = int(sys.argv.pop(1))
def hook(event, arguments):
    global left
    if event not in {"os.link", "os.rename", "os.remove"}:
        return
    if os.path.basename(str(arguments[event != "os.remove"])) in {"PROMOTING", "CURRENT"}:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from commonspace.pipeline.cli.app import main
main()
"""


def killed(store: Store, point: int, *arguments: str) -> bool:
    """Whether the command was killed at that change; it ended well otherwise."""
    answer = subprocess.run(
        [sys.executable, "-c", KILLER, str(point), *arguments],
        env={"COMMONSPACE_WAREHOUSE": store.address, "PATH": ""},
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode in (0, -9), answer.stderr
    return answer.returncode == -9


@pytest.mark.parametrize("point", [pytest.param(1, marks=pytest.mark.crash), 2, 3])
def test_a_killed_promotion_is_finished_or_undone(
    make_collection: Any, store: Store, point: int
) -> None:
    """The announcement, the pointer and the withdrawal are the changes it makes."""
    go(make_collection(rows(10)), store)
    go(make_collection(rows(20)), store, promote=False)
    assert killed(store, point, "promote", "things/text")
    served = len(opened(store))
    assert served == (20 if point == 3 else 10)
    assert opened(store).get(["i000"])["found"].to_pylist() == [True]
    assert len(opened(store).search("text", k=100)) == served
    interrupted = announced(store, NAME) is not None
    assert interrupted == (point > 1)
    checked = verify_space(store, "things/text")
    assert checked["ok"] is not interrupted
    # Undone: LanceDB is what CURRENT says.
    repaired = verify_space(store, "things/text", repair=True)
    assert repaired["ok"]
    assert announced(store, NAME) is None
    assert len(in_lance(store)) == served
    # Finished.
    if point < 3:
        promote_by_hand(store, NAME)
    assert len(opened(store)) == len(in_lance(store)) == 20


def test_a_killed_rollback_does_not_go_back_twice(make_collection: Any, store: Store) -> None:
    three(make_collection, store)
    assert killed(store, 3, "rollback", "things/text")
    pointer = current(store, NAME)
    assert pointer is not None
    assert pointer.release == 2
    assert roll_back(store, NAME).moved is False
    assert announced(store, NAME) is None
    assert len(opened(store)) == len(in_lance(store)) == 20


def test_a_run_that_promotes_nothing_undoes_a_killed_promotion(
    make_collection: Any, store: Store
) -> None:
    go(make_collection(rows(10)), store)
    go(make_collection(rows(20)), store, promote=False)
    assert killed(store, 2, "promote", "things/text")
    assert len(in_lance(store)) == 20
    go(make_collection(rows(10)), store, promote=False)
    assert announced(store, NAME) is None
    assert len(in_lance(store)) == 10
    assert verify_space(store, "things/text")["ok"]


def test_what_the_pointer_says_is_plain_json(make_collection: Any, store: Store) -> None:
    three(make_collection, store)
    data = store.read(current_key(NAME))
    assert data is not None
    document = json.loads(data.to_pybytes())
    assert [one["release"] for one in document["served"]] == [1, 2]


def test_columns_keep_their_order_when_the_file_names_them_in_another(
    make_collection: Any, store: Store
) -> None:
    data = [{**row, "tag": "a", "about": "b"} for row in rows(20)]
    go(make_collection(data, source={"metadata": ["tag", "about"]}), store)
    first = opened(store).to_arrow()
    data[3] = {**data[3], "text": "another"}
    report = go(make_collection(data, source={"metadata": ["about", "tag"]}), store)
    assert report["ledger"]["encoded"] == 1
    assert opened(store).to_arrow().schema.names == first.schema.names
    roll_back(store, NAME)
    assert opened(store).to_arrow().equals(first)
    assert verify_space(store, "things/text")["ok"]


def test_a_retired_version_that_was_never_promoted_comes_back(
    make_collection: Any, store: Store
) -> None:
    collection = make_collection(rows(10))
    go(collection, store, promote=False)
    retire(store, NAME, "by mistake")
    revive(store, NAME)
    assert go(collection, store)["release"] == 1
    assert len(opened(store)) == 10
