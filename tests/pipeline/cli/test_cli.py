"""The command line as a person and a script meet it: its entry point, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.app import app
from commonspace.pipeline.storage.local import LocalStore
from tests.support.checkout import REPOSITORY
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse


def test_the_whole_way(warehouse: Warehouse, command: CommandLine) -> None:
    data = [{"id": f"i{n}", "text": f"text of {n}", "tag": "[bold]x"} for n in range(20)]
    gates = {"max_reject_share": 0.2}
    warehouse.collection(
        [*data, {"id": "bad", "text": " "}], source={"metadata": ["tag"]}, gates=gates
    )
    planned = command("plan", "things", "--json")
    assert json.loads(planned.stdout)[0]["encode"] == 21
    ran = command("run", "things", "--json")
    assert ran.returncode == 0, ran.stderr
    (report,) = json.loads(ran.stdout)
    expected = {
        "collection", "space", "version", "fingerprint", "run", "release", "promoted", "ledger",
        "rejects_by_reason", "gates", "items_per_second", "seconds", "device", "peak_rss_bytes",
    }  # fmt: skip
    assert expected <= report.keys()
    assert set(report["seconds"]) == {"pull", "plan", "encode", "validate", "publish", "index"}
    assert report["ledger"]["rejected"] == 1
    shown = json.loads(command("show", "--json").stdout)
    assert [(s["space"], s["rows"], s["release"]) for s in shown] == [("things/text/v1", 20, 1)]
    found = json.loads(command("search", "things/text", "text of 7", "-k", "3", "--json").stdout)
    assert found["hits"][0]["id"] == "i7"
    rows = json.loads(command("get", "things/text", "i3", "no", "--json").stdout)["rows"]
    assert [row["found"] for row in rows] == [True, False]
    rejects = json.loads(command("rejects", "things/text", "--json").stdout)["rejects"]
    assert [(row["id"], row["reason"]) for row in rejects] == [("bad", "empty_text")]
    assert json.loads(command("verify", "things/text", "--json").stdout)["ok"] is True
    for table in (["show"], ["search", "things/text", "x"], ["get", "things/text", "i1"],
                  ["rejects", "things/text"], ["verify", "things/text"], ["plan", "things"],
                  ["files", "things/text"]):  # fmt: skip
        answer = command(*table)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.strip()
    assert "[bold]x" in command("search", "things/text", "text of 7").stdout


GOOD = """
[collection]
name = "things"
owner = "me"
[source]
kind = "jsonl"
uri = "things.jsonl"
id = "id"
[[space]]
name = "text"
encoder = "hashed"
fields = ["text"]
"""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(("owner", "ownr"), "did you mean 'owner'", id="unknown-key"),
        pytest.param(('"hashed"', "7"), "valid string", id="wrong-type"),
        pytest.param(("things.jsonl", "nowhere.jsonl"), "no file or folder", id="missing-source"),
        pytest.param(('"hashed"', '"hashd"'), "hashed", id="unknown-encoder"),
        pytest.param(('"hashed"', '"./no/model"'), "no/model", id="missing-model"),
        pytest.param(('"hashed"', '"owner/model"'), "revision", id="unpinned-hub-model"),
        pytest.param(('"text"]', '"txt"]'), "did you mean 'text'", id="unknown-field"),
        pytest.param(("[source]", "[source"), "not valid TOML", id="bad-toml"),
        pytest.param(('kind = "jsonl"', 'kind = "parquet"'), "Parquet", id="wrong-kind"),
        pytest.param(('fields = ["text"]', 'image = "text"\n[gates]\nmax_reject_share = 2'),
                     "less than or equal to 1", id="bad-gate"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message_and_exit_code_2(
    tmp_path: Path, command: CommandLine, change: tuple[str, str], says: str
) -> None:
    (tmp_path / "things.toml").write_text(GOOD.replace(*change))
    (tmp_path / "things.jsonl").write_text('{"id": "a", "text": "b"}\n')
    answer = command("run", "things.toml")
    assert answer.returncode == 2, answer.stderr
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "warehouse").exists() or not [
        p for p in (tmp_path / "warehouse").rglob("*") if p.is_file()
    ]
    as_json = json.loads(command("run", "things.toml", "--json").stdout)
    assert as_json["what"]
    assert as_json["retry"] in {True, False}


@pytest.mark.parametrize(
    ("weights", "says"),
    [("none.safetensors", "none.safetensors"), ("cut.safetensors", "cut"), ("", "weights")],
)
def test_weights_that_are_missing_or_cut_off(
    tmp_path: Path, command: CommandLine, weights: str, says: str
) -> None:
    (tmp_path / "cut.safetensors").write_bytes((1000).to_bytes(8, "little") + b"{" + b" " * 500)
    line = f'weights = "{weights}"' if weights else ""
    document = GOOD.replace('"hashed"', f'"torchvision/resnet18"\n{line}')
    (tmp_path / "things.toml").write_text(document.replace('fields = ["text"]', 'image = "text"'))
    (tmp_path / "things.jsonl").write_text('{"id": "a", "text": "b"}\n')
    answer = command("run", "things.toml")
    assert answer.returncode == 2, answer.stderr
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr


def test_no_permission_is_said_plainly(tmp_path: Path, command: CommandLine) -> None:
    (tmp_path / "things.toml").write_text(GOOD)
    (tmp_path / "things.jsonl").write_text('{"id": "a", "text": "b"}\n')
    # A path below a file and one below /proc: closed to everybody, root included.
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "warehouse", Path("/proc/warehouse")):
        command.use(Warehouse(tmp_path, LocalStore(place)))
        answer = command("run", "things")
        assert answer.returncode == 1, answer.stderr
        assert "warehouse" in answer.stderr
        assert "Traceback" not in answer.stderr


FULL_DISK = """
import errno, os, sys
real, left = os.fsync, int(sys.argv.pop(1))
def fsync(descriptor):
    global left
    left -= 1
    if left < 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real(descriptor)
os.fsync = fsync
from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.app import app, main
main()
"""


@pytest.mark.parametrize(
    "writes",
    [pytest.param(n, marks=() if n == 9 else pytest.mark.crash) for n in (0, 3, 9, 15, 21)],
)
def test_a_full_disk_is_said_plainly_and_the_next_run_finishes(
    tmp_path: Path, command: CommandLine, writes: int
) -> None:
    (tmp_path / "things.toml").write_text(GOOD)
    lines = (json.dumps({"id": f"i{n}", "text": f"text {n}"}) for n in range(30))
    (tmp_path / "things.jsonl").write_text("\n".join(lines))
    answer = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(writes), "run", "things"],
        env={**os.environ, "COMMONSPACE_COLLECTIONS": str(tmp_path),
             "COMMONSPACE_WAREHOUSE": str(tmp_path / "warehouse")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 1, answer.stderr
    assert "disk is full" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert command("run", "things").returncode == 0
    assert command("verify", "things/text").returncode == 0


def test_the_installed_command_is_the_entry_point(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("commonspace")), "run", "nothing.toml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 2
    assert "nothing.toml: cannot be read" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_name_says_what_there_is(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.collection([{"id": "a", "text": "b"}])
    for arguments, says in (
        (["run", "thinks"], "did you mean 'things'"),
        (["run", "things", "--space", "txt"], "did you mean 'text'"),
        (["run", "things", "--space", "text/vtwo"], "not the name of a space"),  # not the newest
        (["run", "things", "--partition", "x"], "no partitions"),
        (["search", "things/text", "x"], "no promoted release"),
        (["search", "things", "x"], "no promoted release"),
        (["show", "nothing"], "nothing"),
    ):
        answer = command(*arguments)
        assert answer.returncode == 2, (arguments, answer.stderr)
        assert says in answer.stderr
        assert "Traceback" not in answer.stderr


def test_dry_run_candidates_and_scopes(
    tmp_path: Path, warehouse: Warehouse, command: CommandLine
) -> None:
    warehouse.collection([{"id": f"i{n}", "text": f"t{n}"} for n in range(5)])
    dry = json.loads(command("run", "things", "--dry-run", "--json").stdout)
    assert dry[0]["encode"] == 5
    ids = tmp_path / "ids.txt"
    ids.write_text("i1\ni3\n")
    (report,) = json.loads(command("run", "things", "--ids", str(ids), "--json").stdout)
    assert report["ledger"]["encoded"] == 2
    (report,) = json.loads(command("run", "things", "--no-promote", "--json").stdout)
    assert report["state"] == "candidate"
    assert json.loads(command("show", "--json").stdout)[0]["rows"] == 2
    both = command("run", "things", "--ids", str(ids), "--only-rejects")
    assert both.returncode == 2


def test_ids_of_any_characters_are_run(
    tmp_path: Path, warehouse: Warehouse, command: CommandLine
) -> None:
    odd = ["two\nlines", "a return\r", " blanks ", "a\u2028separator"]
    collection = [{"id": item, "text": f"t {n}"} for n, item in enumerate([*odd, "plain"])]
    warehouse.collection(collection)
    (tmp_path / "ids.json").write_text(json.dumps(odd))
    ran = command("run", "things", "--ids", str(tmp_path / "ids.json"), "--json")
    (report,) = json.loads(ran.stdout)
    assert report["ledger"]["encoded"] == len(odd)
    assert sorted(warehouse.open().to_arrow(["id"])["id"].to_pylist()) == sorted(odd)


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("key", ["2026-1-5", "yesterday", "2026-02-30", "2026-11-20T00", ""])
def test_what_names_no_partition_is_refused_as_by_the_dag(
    verb: str, key: str, warehouse: Warehouse, command: CommandLine
) -> None:
    days = {"schedule": "@daily", "partitions": "day"}
    warehouse.collection(source={"uri": "{partition}.jsonl"}, collection=days)
    answer = command(verb, "things", "--partition", key)
    assert answer.returncode == 2
    assert f"{key!r} names no day" in answer.stderr
    assert "written like 2026-01-31" in answer.stderr


def test_force_is_a_dry_run_until_somebody_says_otherwise(
    warehouse: Warehouse, command: CommandLine
) -> None:
    warehouse.collection([{"id": f"i{n}", "text": f"t{n}"} for n in range(5)])
    assert command("run", "things").returncode == 0
    planned = command("run", "things", "--force", "--json")
    assert json.loads(planned.stdout)[0]["encode"] == 5
    assert "--no-dry-run" in planned.stderr
    forced = command("plan", "things", "--force", "--json")
    assert json.loads(forced.stdout)[0]["encode"] == 5
    listed = json.loads(command("releases", "things/text", "--json").stdout)
    assert [one["number"] for one in listed["releases"]] == [1]
    done = command("run", "things", "--force", "--no-dry-run", "--json")
    (report,) = json.loads(done.stdout)
    assert (report["ledger"]["encoded"], report["release"]) == (5, 2)


@pytest.mark.parametrize("verb", ["", *(str(c.callback.__name__) for c in app.registered_commands)])
def test_every_verb_explains_itself(command: CommandLine, verb: str) -> None:
    answer = command(*([verb] if verb else []), "--help")
    assert answer.returncode == 0
    assert "Usage" in answer.stdout


def test_a_benchmark_explains_itself() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "commonspace", "bench", "encode", "--help"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "usage: commonspace bench encode" in answer.stdout
    assert "--rounds" in answer.stdout


def test_a_search_for_nothing_loads_nothing(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.collection([{"id": "a", "text": "a"}])
    command("run", "things")
    for wrong in ((), ("a", "--image", "a.png"), ("a", "--id", "a")):
        answer = command("search", "things/text", *wrong)
        assert (answer.returncode, "exactly one of" in answer.stderr) == (2, True)
        assert "loading" not in answer.stderr
    assert "loading" in command("search", "things/text", "a").stderr


def test_a_refused_run_names_what_it_rejected(warehouse: Warehouse, command: CommandLine) -> None:
    data = [{"id": f"i{n}", "text": f"t{n}"} for n in range(5)]
    warehouse.collection([*data, {"id": "blank", "text": " "}, {"id": "i1", "text": "twin"}])
    answer = command("run", "things")
    assert answer.returncode == 1
    assert "'blank'" in answer.stderr
    assert "'i1'" in answer.stderr
    assert "duplicate_id" in answer.stderr
    (reported,) = json.loads(command("run", "things", "--json").stdout)
    assert "blank" in reported["do"]


def test_narrow_terminals_get_whole_words(
    warehouse: Warehouse, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.collection([{"id": f"i{n}", "text": f"t{n}"} for n in range(5)])
    monkeypatch.setattr(tables, "console", Console(width=80))
    ran, shown = command("run", "things").stdout, command("show").stdout
    assert "things/text/v1: release 1 promoted" in ran
    assert "5 offered, 5 encoded" in ran
    assert "things/text/v1" in shown
    assert "promoted" in shown


def test_drift_is_said_plainly(
    warehouse: Warehouse, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [{"id": f"i{n}", "text": f"text {n}"} for n in range(6)]
    warehouse.collection(data[:5])
    assert command("run", "things").returncode == 0
    assert "canary of run" in command("verify", "things/text").stdout
    assert "largest angle 0 rad" in command("verify", "things/text", "--canary").stdout
    # What a new library or processor may do: other numbers under the same names.
    monkeypatch.setattr("commonspace.encoders.hashed.MULTIPLIER", np.uint64(0x5851F42D4C957F2D))
    warehouse.collection(data)
    for words in (["run", "things"], ["search", "things/text", "text 3"]):
        answer = command(*words)
        assert answer.returncode == 1
        assert "makes other vectors than run" in answer.stderr
        assert "version = 2" in answer.stderr
        assert "Traceback" not in answer.stderr
    answer = command("verify", "things/text", "--canary")
    assert answer.returncode == 1
    assert "WRONG" in answer.stdout
    assert json.loads(command("show", "--json").stdout)[0]["release"] == 1
