"""How a CSV is written, guessed from its text."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.init.csv_settings import CsvSettings, guess_encoding, guess_settings

ROWS = "id{0}text\na{0}one, two\nb{0}three; four\nc{0}five\n"


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_the_delimiter_is_the_one_by_which_records_agree(mark: str) -> None:
    assert guess_settings(ROWS.format(mark)) == CsvSettings(delimiter=mark)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text\nhello, world\nwhales, ships, men\nsea\n", {"delimiter": "\t"}),
        ("text\nhello\nworld\n", {}),
        ("sep=;\nid;text\n1;a,b\n2;c,d\n", {}),
        ("# made by hand\nid,text\n1,a\n2,b\n", {"comment": "#"}),
        ("#id,text\n1,a\n2,b\n", {}),
        ('id,text\n1,"a \\"b\\", c"\n2,"d \\"e\\""\n', {"escape": "\\"}),
        ("id, text\n1, a\n2, b\n", {}),
        ("id,text\n1,a,b\n2\n3,c,d\n", {}),
        ("", {}),
    ],
)
def test_only_what_is_not_the_default_is_set(text: str, expected: dict[str, Any]) -> None:
    assert guess_settings(text) == CsvSettings(**expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3,Wall St. bears,Short-sellers\n4,Carlyle,Private\n", "'3' in the first line is a num"),
        ("a man,a boy,2.5\na dog,a cat,1.0\n", "'2.5' in the first line is a number"),
        ("2026-01-31,fine weather\n2026-02-01,rain\n", "'2026-01-31' in the first line is a time"),
        (f"x,{'long ' * 20}\ny,short\n", "too long for a name"),
        ("spam,win a prize\nham,see you\nspam,free money\nham,ok\nspam,y\n", "'spam' in the first"),
    ],
)
def test_a_first_line_that_is_a_record_is_said_loudly(text: str, why: str) -> None:
    settings = guess_settings(text)
    width = len(text.split("\n")[0].split(","))
    assert settings.columns == tuple(f"column_{n + 1}" for n in range(width))
    assert settings.doubts[-1].startswith("NO HEADER LINE")
    assert why in settings.doubts[-1]


@pytest.mark.parametrize("text", ["country,2019,2020\nDE,1,2\nFR,3,4\n", "id,text\n1,a\n2,b\n"])
def test_a_header_is_no_record(text: str) -> None:
    assert guess_settings(text).columns is None


def test_a_name_that_two_columns_have_is_no_name() -> None:
    assert guess_settings("id,text,text\n1,a,b\n2,c,d\n").repeated == {"text"}


def test_the_encoding_is_utf8_or_a_guess_that_says_so() -> None:
    assert guess_encoding("id,text\n1,Müller\n".encode()) == ("utf-8", "")
    assert guess_encoding("id,text\n1,Müller".encode()[:-4])[0] == "utf-8"
    encoding, doubt = guess_encoding("id,text\n1,Müller\n".encode("cp1252"))
    assert (encoding, "line 2 is not UTF-8" in doubt) == ("cp1252", True)
    assert guess_encoding(b"id\n\x81\xfc\n")[0] == "latin-1"


fields = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=9)


@given(
    st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(fields, min_size=width, max_size=width), min_size=3)
    ),
    st.sampled_from(",;\t|"),
)
def test_what_a_writer_quotes_is_read_as_it_was_written(rows: list[list[str]], mark: str) -> None:
    """With every field in quotes only one delimiter makes fields of them."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=mark, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    assert guess_settings(out.getvalue()).delimiter == mark
