"""Names of spaces: what a person may write, and what is made of it."""

from __future__ import annotations

import pytest

from commonspace.pipeline.contract.name import SpaceName, SpaceReference
from commonspace.pipeline.errors import NotPublished, UserMistake

WRONG = ["", "a", "a/", "/a", "a/b/v", "a/b/vtwo", "a/b/2", "a/b/v1/c", "A/b", "a/b/v-1", "a b/c",
         "a/b/v1\n", "a/b.c"]  # fmt: skip


def test_a_name_says_its_version() -> None:
    name = SpaceName.parse("books-2/text_a/v12")
    assert name == SpaceName("books-2", "text_a", 12)
    assert str(name) == "books-2/text_a/v12"
    assert name.table == "books-2__text_a__v12"
    assert name.folder == "text_a-v12"
    with pytest.raises(NotPublished, match="write books/text/v1"):
        SpaceName.parse("books/text")


def test_a_reference_may_leave_the_version_open() -> None:
    assert SpaceReference.parse("books/text") == SpaceReference("books", "text", None)
    assert SpaceReference.parse("books/text/v0") == SpaceReference("books", "text", 0)
    within = SpaceReference.parse_within
    assert within("books", "text") == SpaceReference("books", "text", None)
    assert within("books", "text/v3") == SpaceReference("books", "text", 3)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_name_is_refused(text: str) -> None:
    for parse in (SpaceName.parse, SpaceReference.parse):
        with pytest.raises(NotPublished):
            parse(text)
    with pytest.raises(UserMistake, match="of books"):
        SpaceReference.parse_within("books", f"{text}/v")
