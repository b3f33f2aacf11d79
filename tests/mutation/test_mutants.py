"""Which mutants a program has, and that the same are sampled again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, sample


def mutants_of(folder: Path, source: str, seed: str = "0") -> list[Mutant]:
    (folder / "a.py").write_text(source)
    return list(sample(folder, ["a.py"], 100, seed))


@pytest.mark.parametrize(
    "source",
    [
        "LIMIT = 4096\n",
        "def f(a: int | str = '') -> int | None: ...\n",
        "def f(a, *, b): ...\n",
        "pairs = zip(a, b, strict=True)\n",
        "@dataclass(frozen=True)\nclass A:\n    a: int | None\n",
        "table = read(use_threads=False)\n",
    ],
)
def test_what_changes_nothing_that_runs_is_no_mutant(tmp_path: Path, source: str) -> None:
    assert mutants_of(tmp_path, source) == []


def test_a_line_is_mutated_once(tmp_path: Path) -> None:
    source = "def f(a):\n    if a < 1 and not a == 3:\n        return True\n    return a + 2\n"
    mutants = mutants_of(tmp_path, source)
    assert sorted(mutant.line for mutant in mutants) == [2, 3, 4]
    for mutant in mutants:
        assert mutant.code != source
        assert mutant.name == f"a.py: {mutant.before} -> {mutant.after}"
    assert mutants == mutants_of(tmp_path, source)
    assert any(mutants != mutants_of(tmp_path, source, str(seed)) for seed in range(10))


def test_a_decision_is_turned_round_and_a_limit_is_moved(tmp_path: Path) -> None:
    seen = {
        mutant.after for seed in range(60) for mutant in mutants_of(tmp_path, "a < 1\n", str(seed))
    }
    assert {"a <= 1", "a >= 1", "a < 2", "a < 0"} <= {" ".join(after.split()) for after in seen}
