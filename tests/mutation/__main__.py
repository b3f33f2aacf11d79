"""`python -m tests.mutation` plays a sample of mutants; few of them may survive.

The sample follows from the commit and `--seed`, so that a rerun is the same and the next commit's
is another. `--count 0` plays every line that can be changed, which takes hours.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path

from tests.mutation.mutants import Mutant, sample
from tests.mutation.play import copy_tree, import_libraries, kills
from tests.support.checkout import REPOSITORY

HERE = Path(__file__).parent


def main() -> int:
    """Play the sample; 1 where too many survive."""
    settings = tomllib.loads((HERE / "targets.toml").read_text(encoding="utf-8"))
    equivalent = tomllib.loads((HERE / "equivalent.toml").read_text(encoding="utf-8"))
    options = _options(settings["count"])
    tests = {p: t for p, t in settings["tests"].items() if p.startswith(options.only)}
    paths = [path for target in tests for path in _files(target)]
    seed = f"{options.seed} {options.commit or _commit()}"
    sampled = sample(REPOSITORY, paths, options.count or sys.maxsize, seed)
    chosen = [mutant for mutant in sampled if mutant.name not in equivalent]
    _print(f"{len(chosen)} mutants of {len(paths)} files, seed {seed!r}")
    survived = play(chosen, tests)
    most = int(settings["most_surviving"] * len(chosen))
    _print(f"{survived} of {len(chosen)} survived; {most} may")
    return int(survived > most)


def play(chosen: Sequence[Mutant], tests: dict[str, list[str]]) -> int:
    """How many of the mutants no test notices.

    Raises:
        SystemExit: The tests fail where nothing is changed.
    """
    lists = [next(tests[p] for p in tests if mutant.path.startswith(p)) for mutant in chosen]
    with _processes() as pool:
        untouched = sorted(map(tuple, {tuple(paths) for paths in lists}))
        for paths, verdict in zip(untouched, pool.imap(_play_unchanged, untouched), strict=True):
            if verdict:
                sys.exit(f"mutation: {' '.join(paths)} fail where nothing is changed:\n{verdict}")
        survived = 0
        for mutant, is_killed in zip(
            chosen, pool.imap(_play, zip(chosen, lists, strict=True)), strict=True
        ):
            _print(f"{'killed' if is_killed else 'SURVIVED'}, line {mutant.line} of {mutant.name}")
            survived += not is_killed
    return survived


@contextmanager
def _processes() -> Iterator[Pool]:
    """A process for each core, forked from here, each with a copy of the tree."""
    import_libraries()
    with tempfile.TemporaryDirectory(prefix="mutation-", ignore_cleanup_errors=True) as folder:
        context = multiprocessing.get_context("fork")
        with context.Pool(os.cpu_count(), initializer=_begin, initargs=(Path(folder),)) as pool:
            yield pool


def _begin(folder: Path) -> None:
    global _tree
    _tree = folder / f"tree{os.getpid()}"
    copy_tree(_tree)


_tree = Path()
"""The copy of this process."""


def _play_unchanged(tests: tuple[str, ...]) -> str:
    log = _tree.with_suffix(".log")
    return log.read_text(encoding="utf-8") if kills(_tree, None, tests, log) else ""


def _play(task: tuple[Mutant, list[str]]) -> bool:
    mutant, tests = task
    return kills(_tree, mutant, tests, _tree.with_suffix(".log"))


def _files(target: str) -> list[str]:
    path = REPOSITORY / target
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return [file.relative_to(REPOSITORY).as_posix() for file in files]


def _options(count: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=count, help="how many; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commit", help="the sample of another commit")
    parser.add_argument("--only", default="", help="targets that begin so")
    return parser.parse_args()


def _commit() -> str:
    command = ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"]
    return subprocess.run(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def _print(line: str) -> None:
    sys.stdout.write(f"mutation: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
