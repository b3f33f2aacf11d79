"""Whatever stands in a collection file, it is loaded or refused in words, alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from commonspace.pipeline.config.files import declared_name, find_collection, load_collection
from commonspace.pipeline.errors import UserMistake
from tests.pipeline.config.books import GOOD
from tests.pipeline.config.mutations import mutated

MUTATIONS = 10_000
LONGEST_MESSAGE = 10_000


@pytest.mark.sources
def test_every_mutation_is_loaded_or_refused_in_words(tmp_path: Path) -> None:
    path, outcomes = tmp_path / "books.toml", {"loaded": 0, "refused": 0}
    for number in range(MUTATIONS):
        path.write_bytes(mutated(number))
        assert isinstance(declared_name(path), str)
        try:
            collection = load_collection(path)
            for space in collection.space:  # what is made of its values is made without error, too
                collection.encoder_reference(space)
                collection.golden_file(space)
                collection.index_settings(space)
            assert collection.source_uri
            outcomes["loaded"] += 1
        except UserMistake as error:
            words = str(error)
            assert len(words) < LONGEST_MESSAGE, number
            assert all(line.isprintable() for line in words.split("\n")), number
            assert "Error" not in words, words
            assert "sys." not in words, words
            outcomes["refused"] += 1
    assert min(outcomes.values()) > MUTATIONS / 20, outcomes


def test_a_broken_file_is_in_nobodys_way(tmp_path: Path) -> None:
    """Whoever looks for one collection reads all files of the folder."""
    (tmp_path / "good.toml").write_text(GOOD)
    for number in range(200):
        (tmp_path / f"a{number}.toml").write_bytes(mutated(number).replace(b'"books"', b'"other"'))
    assert find_collection("books", tmp_path).name == "books"
