"""The mutants of a file: cosmic-ray's operators, less those that change nothing that runs."""

from __future__ import annotations

import ast
import difflib
import itertools
import random
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

PREFIX = "core/"
REPLACEMENTS = {
    "ReplaceComparisonOperator": [
        ("Eq", "NotEq"), ("NotEq", "Eq"), ("Is", "IsNot"), ("IsNot", "Is"), ("Lt", "LtE"),
        ("Lt", "GtE"), ("LtE", "Lt"), ("LtE", "Gt"), ("Gt", "GtE"), ("Gt", "LtE"), ("GtE", "Gt"),
        ("GtE", "Lt"),
    ],
    "ReplaceBinaryOperator": [
        ("Add", "Sub"), ("Sub", "Add"), ("Mul", "Div"), ("Div", "Mul"), ("FloorDiv", "Mul"),
        ("Mod", "FloorDiv"), ("Pow", "Mul"), ("BitOr", "BitAnd"), ("BitAnd", "BitOr"),
    ],
}  # fmt: skip
"""The replacements that are not always a TypeError, or always the same."""
OTHERS = (
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "AddNot", "ReplaceUnaryOperator_Delete_Not", "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak", "NumberReplacer", "ExceptionReplacer", "ZeroIterationForLoop",
)  # fmt: skip
OPERATORS = [
    *(f"{kind}_{a}_{b}" for kind, pairs in REPLACEMENTS.items() for a, b in pairs), *OTHERS,
]  # fmt: skip

IGNORED_ARGUMENTS = ("strict", "use_threads")
"""A strict `zip` is an assertion; threads change how long something takes."""
Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file; its name outlives changes elsewhere in the file."""

    path: str
    line: int
    before: str
    after: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.path}: {self.before} -> {self.after}"


def sample(root: Path, paths: Sequence[str], count: int, seed: str) -> Iterator[Mutant]:
    """So many mutants of files below the root, at most one a line; the seed decides.

    Files take turns, a long one as many more as it has more lines that can be changed.
    """
    chance = random.Random(seed)
    turns = []
    for path in paths:
        lines = _places(root / path)
        for number, line in enumerate(chance.sample(sorted(lines), len(lines))):
            turn = (number + chance.random()) / len(lines)
            turns.append((turn, path, line, chance.sample(lines[line], len(lines[line]))))
    mutants = (
        _first_mutant(root, path, line, changes)
        for _, path, line, changes in sorted(turns, key=lambda turn: turn[:3])
    )
    return itertools.islice((mutant for mutant in mutants if mutant), count)


def _places(path: Path) -> dict[int, list[tuple[str, int]]]:
    """For each line the operators that can change it, each with its occurrence in the file."""
    nodes = list(ast_nodes(get_ast(path.read_text(encoding="utf-8"))))
    lines: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name in OPERATORS:
        operator = get_operator(PREFIX + name)()
        positions = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, (line, _) in enumerate(positions):
            lines[line].append((name, occurrence))
    return lines


def _first_mutant(
    root: Path, path: str, line: int, changes: Iterable[tuple[str, int]]
) -> Mutant | None:
    """The mutant of the first of the changes that makes one which runs otherwise."""
    source = (root / path).read_text(encoding="utf-8")
    for name, occurrence in changes:
        try:
            code = mutate_code(source, get_operator(PREFIX + name)(), occurrence)
        except AttributeError:  # exceptions with a dot in their name are not mutated
            continue
        if code is not None and _what_runs(code) != _what_runs(source):
            before, after = _changed_lines(source, code)
            return Mutant(path=path, line=line, before=before, after=after, code=code)
    return None


def _what_runs(source: str) -> str:
    """The program without what makes no difference to what it does."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    return ast.dump(_Essence().visit(tree))


class _Essence(ast.NodeTransformer):
    """Leaves out what is never evaluated, what mypy checks, and what only changes the pace."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        # A number that stands alone was chosen by measurement: a test would only repeat it.
        for statement in node.body:
            match statement:
                case ast.Assign(value=ast.Constant(value=int() | float() as number)) if not (
                    isinstance(number, bool)
                ):
                    statement.value = ast.Constant(None)
        return self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        return self._inside(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.annotation = ast.Constant(None)  # every file imports them from `__future__`
        return self._inside(node)

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        node.args = node.posonlyargs + node.args + node.kwonlyargs
        node.defaults += [default for default in node.kw_defaults if default is not None]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self._inside(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        for call in (each for each in node.decorator_list if isinstance(each, ast.Call)):
            call.keywords = []  # whether it is frozen
        return self._inside(node)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node.keywords = [word for word in node.keywords if word.arg not in IGNORED_ARGUMENTS]
        return self._inside(node)

    def _inside(self, node: Node) -> Node:
        self.generic_visit(node)
        return node


def _changed_lines(before: str, after: str) -> tuple[str, str]:
    """What stands in the lines that differ, before and after."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    old, new = (
        " ".join(textwrap.dedent(line[2:]).strip() for line in lines if line.startswith(sign))
        for sign in "-+"
    )
    return old, new
