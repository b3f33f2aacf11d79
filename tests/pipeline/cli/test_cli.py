"""The command line as a person and a script meet it: its entry point, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.app import app, main
from tests.support.checkout import REPOSITORY
from tests.support.warehouse import Warehouse


@dataclass(frozen=True)
class Answer:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def commonspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Runs the command's entry point in the folder of the test's collections and warehouse."""
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, warehouse: Path = tmp_path / "warehouse") -> Answer:
        monkeypatch.setenv("COMMONSPACE_WAREHOUSE", str(warehouse))
        monkeypatch.setattr(sys, "argv", ["commonspace", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


def test_the_whole_way(warehouse: Warehouse, commonspace: Callable[..., Answer]) -> None:
    data = [{"id": f"i{n}", "text": f"text of {n}", "tag": "[bold]x"} for n in range(20)]
    gates = {"max_reject_share": 0.2}
    warehouse.collection(
        [*data, {"id": "bad", "text": ""}], source={"metadata": ["tag"]}, gates=gates
    )
    planned = commonspace("plan", "things", "--json")
    assert json.loads(planned.stdout)[0]["encode"] == 21
    ran = commonspace("run", "things", "--json")
    assert ran.returncode == 0, ran.stderr
    (report,) = json.loads(ran.stdout)
    expected = {
        "collection", "space", "version", "fingerprint", "run", "release", "promoted", "ledger",
        "rejects_by_reason", "gates", "items_per_second", "seconds", "device", "peak_rss_bytes",
    }  # fmt: skip
    assert expected <= report.keys()
    assert set(report["seconds"]) == {"pull", "plan", "encode", "validate", "publish", "index"}
    assert report["ledger"]["rejected"] == 1
    shown = json.loads(commonspace("show", "--json").stdout)
    assert [(s["space"], s["rows"], s["release"]) for s in shown] == [("things/text/v1", 20, 1)]
    found = json.loads(
        commonspace("search", "things/text", "text of 7", "-k", "3", "--json").stdout
    )
    assert found["hits"][0]["id"] == "i7"
    rows = json.loads(commonspace("get", "things/text", "i3", "no", "--json").stdout)["rows"]
    assert [row["found"] for row in rows] == [True, False]
    rejects = json.loads(commonspace("rejects", "things/text", "--json").stdout)["rejects"]
    assert [(row["id"], row["reason"]) for row in rejects] == [("bad", "empty_text")]
    assert json.loads(commonspace("verify", "things/text", "--json").stdout)["ok"] is True
    for table in (["show"], ["search", "things/text", "x"], ["get", "things/text", "i1"],
                  ["rejects", "things/text"], ["verify", "things/text"], ["plan", "things"],
                  ["files", "things/text"]):  # fmt: skip
        answer = commonspace(*table)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.strip()
    assert "[bold]x" in commonspace("search", "things/text", "text of 7").stdout


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
    tmp_path: Path, commonspace: Callable[..., Answer], change: tuple[str, str], says: str
) -> None:
    (tmp_path / "things.toml").write_text(GOOD.replace(*change))
    (tmp_path / "things.jsonl").write_text('{"id": "a", "text": "b"}\n')
    answer = commonspace("run", "things.toml")
    assert answer.returncode == 2, answer.stderr
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "warehouse").exists() or not [
        p for p in (tmp_path / "warehouse").rglob("*") if p.is_file()
    ]
    as_json = json.loads(commonspace("run", "things.toml", "--json").stdout)
    assert as_json["what"]
    assert as_json["retry"] in {True, False}


@pytest.mark.parametrize(
    ("weights", "says"),
    [("none.safetensors", "none.safetensors"), ("cut.safetensors", "cut"), ("", "weights")],
)
def test_weights_that_are_missing_or_cut_off(
    tmp_path: Path, commonspace: Callable[..., Answer], weights: str, says: str
) -> None:
    (tmp_path / "cut.safetensors").write_bytes((1000).to_bytes(8, "little") + b"{" + b" " * 500)
    line = f'weights = "{weights}"' if weights else ""
    document = GOOD.replace('"hashed"', f'"torchvision/resnet18"\n{line}')
    (tmp_path / "things.toml").write_text(document.replace('fields = ["text"]', 'image = "text"'))
    (tmp_path / "things.jsonl").write_text('{"id": "a", "text": "b"}\n')
    answer = commonspace("run", "things.toml")
    assert answer.returncode == 2, answer.stderr
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr


def test_no_permission_is_said_plainly(tmp_path: Path, commonspace: Callable[..., Answer]) -> None:
    (tmp_path / "things.toml").write_text(GOOD)
    (tmp_path / "things.jsonl").write_text('{"id": "a", "text": "b"}\n')
    # A path below a file and one below /proc: closed to everybody, root included.
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "warehouse", Path("/proc/warehouse")):
        answer = commonspace("run", "things", warehouse=place)
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


@pytest.mark.parametrize("writes", [0, 3, 9, 15, 21])
def test_a_full_disk_is_said_plainly_and_the_next_run_finishes(
    tmp_path: Path, commonspace: Callable[..., Answer], writes: int
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
    assert commonspace("run", "things").returncode == 0
    assert commonspace("verify", "things/text").returncode == 0


def test_the_installed_command_is_the_entry_point(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("commonspace")), "run", "nothing.toml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 2
    assert "nothing.toml: cannot be read" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_name_says_what_there_is(
    warehouse: Warehouse, commonspace: Callable[..., Answer]
) -> None:
    warehouse.collection([{"id": "a", "text": "b"}])
    for arguments, says in (
        (["run", "thinks"], "did you mean 'things'"),
        (["run", "things", "--space", "txt"], "did you mean 'text'"),
        (["run", "things", "--partition", "x"], "no partitions"),
        (["search", "things/text", "x"], "no promoted release"),
        (["search", "things", "x"], "collection/space"),
        (["show", "nothing"], "nothing"),
    ):
        answer = commonspace(*arguments)
        assert answer.returncode == 2, (arguments, answer.stderr)
        assert says in answer.stderr
        assert "Traceback" not in answer.stderr


def test_dry_run_candidates_and_scopes(
    tmp_path: Path, warehouse: Warehouse, commonspace: Callable[..., Answer]
) -> None:
    warehouse.collection([{"id": f"i{n}", "text": f"t{n}"} for n in range(5)])
    dry = json.loads(commonspace("run", "things", "--dry-run", "--json").stdout)
    assert dry[0]["encode"] == 5
    ids = tmp_path / "ids.txt"
    ids.write_text("i1\ni3\n")
    (report,) = json.loads(commonspace("run", "things", "--ids", str(ids), "--json").stdout)
    assert report["ledger"]["encoded"] == 2
    (report,) = json.loads(commonspace("run", "things", "--no-promote", "--json").stdout)
    assert report["state"] == "candidate"
    assert json.loads(commonspace("show", "--json").stdout)[0]["rows"] == 2
    both = commonspace("run", "things", "--ids", str(ids), "--only-rejects")
    assert both.returncode == 2


def test_force_is_a_dry_run_until_somebody_says_otherwise(
    warehouse: Warehouse, commonspace: Callable[..., Answer]
) -> None:
    warehouse.collection([{"id": f"i{n}", "text": f"t{n}"} for n in range(5)])
    assert commonspace("run", "things").returncode == 0
    planned = commonspace("run", "things", "--force", "--json")
    assert json.loads(planned.stdout)[0]["encode"] == 5
    assert "--no-dry-run" in planned.stderr
    forced = commonspace("plan", "things", "--force", "--json")
    assert json.loads(forced.stdout)[0]["encode"] == 5
    listed = json.loads(commonspace("releases", "things/text", "--json").stdout)
    assert [one["number"] for one in listed["releases"]] == [1]
    done = commonspace("run", "things", "--force", "--no-dry-run", "--json")
    (report,) = json.loads(done.stdout)
    assert (report["ledger"]["encoded"], report["release"]) == (5, 2)


@pytest.mark.parametrize("verb", ["", *(str(c.callback.__name__) for c in app.registered_commands)])
def test_every_verb_explains_itself(commonspace: Callable[..., Answer], verb: str) -> None:
    answer = commonspace(*([verb] if verb else []), "--help")
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


def test_a_search_for_nothing_loads_nothing(
    warehouse: Warehouse, commonspace: Callable[..., Answer]
) -> None:
    warehouse.collection([{"id": "a", "text": "a"}])
    commonspace("run", "things")
    for wrong in ((), ("a", "--image", "a.png"), ("a", "--id", "a")):
        answer = commonspace("search", "things/text", *wrong)
        assert (answer.returncode, "exactly one of" in answer.stderr) == (2, True)
        assert "loading" not in answer.stderr
    assert "loading" in commonspace("search", "things/text", "a").stderr


def test_a_refused_run_names_what_it_rejected(
    warehouse: Warehouse, commonspace: Callable[..., Answer]
) -> None:
    data = [{"id": f"i{n}", "text": f"t{n}"} for n in range(5)]
    warehouse.collection([*data, {"id": "blank", "text": " "}, {"id": "i1", "text": "twin"}])
    answer = commonspace("run", "things")
    assert answer.returncode == 1
    assert "'blank'" in answer.stderr
    assert "'i1'" in answer.stderr
    assert "duplicate_id" in answer.stderr
    (told,) = json.loads(commonspace("run", "things", "--json").stdout)
    assert "blank" in told["do"]


def test_narrow_terminals_get_whole_words(
    warehouse: Warehouse, commonspace: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.collection([{"id": f"i{n}", "text": f"t{n}"} for n in range(5)])
    monkeypatch.setattr(tables, "console", Console(width=80))
    ran, shown = commonspace("run", "things").stdout, commonspace("show").stdout
    assert "things/text/v1: release 1 promoted" in ran
    assert "5 offered, 5 encoded" in ran
    assert "things/text/v1" in shown
    assert "promoted" in shown


def test_drift_is_said_plainly(
    warehouse: Warehouse, commonspace: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [{"id": f"i{n}", "text": f"text {n}"} for n in range(6)]
    warehouse.collection(data[:5])
    assert commonspace("run", "things").returncode == 0
    assert "canary of run" in commonspace("verify", "things/text").stdout
    assert "largest angle 0 rad" in commonspace("verify", "things/text", "--canary").stdout
    # What a new library or processor may do: other numbers under the same names.
    monkeypatch.setattr("commonspace.encoders.hashed._MULTIPLIER", np.uint64(0x5851F42D4C957F2D))
    warehouse.collection(data)
    for command in (["run", "things"], ["search", "things/text", "text 3"]):
        answer = commonspace(*command)
        assert answer.returncode == 1
        assert "makes other vectors than run" in answer.stderr
        assert "version = 2" in answer.stderr
        assert "Traceback" not in answer.stderr
    answer = commonspace("verify", "things/text", "--canary")
    assert answer.returncode == 1
    assert "WRONG" in answer.stdout
    assert json.loads(commonspace("show", "--json").stdout)[0]["release"] == 1
