"""A SQL condition is applied as a whole, or refused: none is applied by half."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.read.space import Space
from commonspace.pipeline.read.sql_condition import checked_condition
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse

ITEMS = [{"id": f"{n}", "text": f"text of {n}", "n": n, "a b": f"({n})--;"} for n in range(5)]


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Space, Space]:
    """One release, read from LanceDB and from Parquet."""
    warehouse = Warehouse.within(tmp_path_factory.mktemp("condition"))
    source = {"metadata": {"n": "int64", "a b": "string"}}
    warehouse.run_without_error(ITEMS, source=source)
    served = warehouse.open()
    assert len(served.search(vector=[1.0] * 64, k=1)) == 1
    warehouse.run_without_error([*ITEMS, {"id": "new", "text": "a new one"}], source=source)
    return served, warehouse.open().at(1)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("n > 2 ADN n < 4", "'ADN' was not understood"),
        ("n > 2 n < 4", "'n' was not understood"),
        ("n > 2, n < 4", "', n < 4' was not understood"),
        ("n > 2 limit 1", "'limit' was not understood"),
        ("n > 2 group by id", "'group' was not understood"),
        ("n > 2 ORDER BY id", "'ORDER' was not understood"),
        ("(n > 2) (n < 4)", "was not understood"),
        ("n = 1 OR n = 2 2", "'2' was not understood"),
        ("n > 2 'x'", "\"'x'\" was not understood"),
        ("(n > 2 ADN n < 4) OR n = 0", "'ADN' was not understood"),
        ("1=1;drop", "';drop' was not understood"),
        ("id='1'; delete from x", "'; delete from x' was not understood"),
        ("n > 2;", "';' was not understood"),
        ("id='1' garbage x", "'garbage' was not understood"),
        ("n > 2) OR (1=1", "') OR (1=1' was not understood"),
        ("n > 2)", "')' was not understood"),
        ("(n > 2", "a parenthesis is not closed"),
        ("n > 2 -- AND n < 4", "'-- AND n < 4' was not understood"),
        ("n > 2 /* AND n < 4 */", "'/* AND n < 4 */' was not understood"),
        ("n > 2 # AND n < 4", "refused"),
        ("id = 'x", 'the quote of "\'x" is not closed'),
        ("n > 2 AND", "an expression is missing"),
        ("n > 2 UNION SELECT 1", "'UNION' was not understood"),
        ("n > 2 OR " * 200 + "n < 4 ADN n > 1", "'ADN' was not understood"),
        ("id = 'x' " + "garbage" * 20, "was not understood"),
    ],
)
def test_what_stands_behind_the_first_expression_is_refused(
    spaces: tuple[Space, Space], condition: str, says: str
) -> None:
    for space in spaces:
        with pytest.raises(UserMistake) as refusal:
            space.search(vector=[1.0] * 64, where=condition)
        assert refusal.value.what.startswith(f"the condition {condition!r} was refused: ")
        assert says in refusal.value.what
        assert f"({condition})" not in refusal.value.what


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("n > 2 AND n < 4", ["3"]),
        ("n > 2\n  AND n < 4\n", ["3"]),
        ("(n > 2) AND ((n < 4))", ["3"]),
        ("n IN (1, 2) OR (n = 4)", ["1", "2", "4"]),
        ("n - -1 > 4", ["4"]),
        ("`a b` = '(3)--;'", ["3"]),
        ("\"a b\" IN ('(3)--;', ')', '/*', 'it''s)')", ["3"]),
        ("NOT n > 2", ["0", "1", "2"]),
    ],
)
def test_a_whole_condition_is_applied(
    spaces: tuple[Space, Space], condition: str, ids: list[str]
) -> None:
    for space in spaces:
        found = space.search(vector=[1.0] * 64, where=condition)
        assert sorted(found["id"].to_pylist()) == ids


@given(st.text(alphabet="n1 '\"`(),;-/*=", max_size=20))
def test_what_is_passed_on_is_in_one_pair_of_parentheses(text: str) -> None:
    try:
        condition = checked_condition(text, set())
    except UserMistake:
        return
    assert condition.sql == f"({text})"
    assert condition.given == text


def test_the_command_refuses_it_too(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.run_without_error(ITEMS, source={"metadata": {"n": "int64"}})
    searched = ("search", "things/text", "--id", "1", "--json")
    answer = command(*searched, "--where", "n > 2 ADN n < 4")
    assert answer.returncode == 2
    assert answer.json["what"].endswith("'n > 2 ADN n < 4' was refused: 'ADN' was not understood")
    hits = command(*searched, "--where", "n > 2 AND n < 4").json["hits"]
    assert [hit["id"] for hit in hits] == ["3"]
