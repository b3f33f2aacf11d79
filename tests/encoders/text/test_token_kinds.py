"""What a model reads of a text, by tokenizers of every kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from commonspace.encoders.protocol import Encoder, Reason
from commonspace.encoders.text.tokenizer import TextTokenizer, TokenisedText

EMOJI, THAI, FORMULA = "🐳 🚢 🌧️", "สวัสดีชาวโลก", "∮∇×∂"


def _framed(tokenizer: Tokenizer, first: str, last: str) -> Tokenizer:
    """The tokenizer with a special token at each end of a text."""
    tokenizer.add_special_tokens([first, last])
    ids = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=ids
    )
    return tokenizer


def word_piece() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "river", "stone", ",", "x", "##x", "[", "]", "sep"]
    model = models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    return _framed(tokenizer, "[CLS]", "[SEP]")


def word_level() -> Tokenizer:
    words = ["<unk>", "river", "stone", "<s>", "</s>"]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _framed(tokenizer, "<s>", "</s>")


def unigram(*, fallback: bool = False) -> Tokenizer:
    pieces = [("<unk>", 0.0), ("▁", -4.0), ("▁river", -2.0), ("▁stone", -2.0), (",", -3.0)]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256 if fallback else 0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=fallback))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return _framed(tokenizer, "<s>", "</s>")


def bpe(*, unknown: str | None = "<unk>") -> Tokenizer:
    letters = ["<unk>", *"riverston"]
    vocabulary = {letter: n for n, letter in enumerate(dict.fromkeys(letters))}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _framed(tokenizer, "<s>", "</s>")


def byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _framed(tokenizer, "<s>", "<|endoftext|>")


def clip() -> Tokenizer:
    """Byte-level, and what it does not know is what ends a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"{letter}</w>" for letter in alphabet), "<|start|>", "<|endoftext|>"]
    model = models.BPE(
        {word: n for n, word in enumerate(words)}, [], unk_token="<|endoftext|>",
        end_of_word_suffix="</w>",
    )  # fmt: skip
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _framed(tokenizer, "<|start|>", "<|endoftext|>")


KINDS: dict[str, tuple[Callable[[], Tokenizer], str]] = {
    "word-piece": (word_piece, "[SEP]"),
    "word-level": (word_level, "</s>"),
    "unigram": (unigram, "</s>"),
    "unigram-with-bytes": (lambda: unigram(fallback=True), "</s>"),
    "bpe": (bpe, "</s>"),
    "bpe-that-drops": (lambda: bpe(unknown=None), "</s>"),
    "byte-level": (byte_level, "<|endoftext|>"),
    "clip": (clip, "<|endoftext|>"),
}
"""By name: a tokenizer, and the token that it puts behind each text."""
HAS_BYTES = {"unigram-with-bytes", "byte-level", "clip"}


def read(tokenizer: Tokenizer, text: str, prompt: str = "", overflow: str = "truncate",
         limit: int = 64) -> TokenisedText:  # fmt: skip
    (tokenised,) = TextTokenizer(tokenizer, limit, "right", overflow)([text], prompt)
    return tokenised


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_plain_text_is_read_whole(kind: str) -> None:
    reading = read(KINDS[kind][0](), "river stone").reading
    assert (reading.unknown, reading.has_control, reading.is_unreadable) == (0, False, False)


@pytest.mark.parametrize("text", [EMOJI, THAI, FORMULA, "🐳", "ж" * 5000])
def test_a_text_without_a_known_token_is_unreadable(kind: str, text: str) -> None:
    reading = read(KINDS[kind][0](), text).reading
    assert reading.is_unreadable == (kind not in HAS_BYTES)
    assert bool(reading.unknown) == (kind not in HAS_BYTES and kind != "bpe-that-drops")


def test_a_text_that_is_read_in_part_counts_what_is_not(kind: str) -> None:
    reading = read(KINDS[kind][0](), f"river {EMOJI} stone").reading
    assert not reading.is_unreadable
    assert bool(reading.unknown) == (kind not in HAS_BYTES and kind != "bpe-that-drops")


def test_control_tokens_that_a_text_spells_are_noticed(kind: str) -> None:
    make, last = KINDS[kind]
    tokenised = read(make(), f"river {last} stone")
    assert tokenised.reading.has_control
    assert tokenised.windows[0].ids.tolist().count(make().token_to_id(last)) == 2
    assert not tokenised.reading.is_unreadable
    assert tokenised.reading.unknown == 0


def test_what_looks_like_a_control_token_and_is_none(kind: str) -> None:
    assert not read(KINDS[kind][0](), "river [sep] < /s > stone").reading.has_control


def test_a_control_token_beyond_the_limit_does_not_act(kind: str) -> None:
    make, last = KINDS[kind]
    text = "river " * 40 + last
    assert not read(make(), text, limit=16).reading.has_control
    assert read(make(), text, overflow="mean", limit=16).reading.has_control


def test_a_special_token_acts_and_a_further_word_does_not() -> None:
    """So does one that no text ends with, such as the padding."""
    tokenizer = word_piece()
    tokenizer.add_tokens([AddedToken("<brand>", special=False)])
    assert read(tokenizer, "river [PAD] stone").reading.has_control
    assert not read(tokenizer, "river <brand> stone").reading.has_control
    assert read(tokenizer, "river [UNK] stone").reading.unknown == 1


@pytest.mark.parametrize("prompt", ["", "river: ", "🐳 river ", "[SEP] "])
def test_a_prompt_is_no_part_of_the_text(prompt: str) -> None:
    tokenizer = word_piece()
    read_whole = read(tokenizer, "river stone", prompt).reading
    assert (read_whole.unknown, read_whole.has_control, read_whole.is_unreadable) == (0, 0, 0)
    unknown = read(tokenizer, EMOJI, prompt).reading
    assert (unknown.unknown, unknown.is_unreadable) == (3, True)


def test_a_prompt_may_be_one_word_with_the_text() -> None:
    """`river` and `x stone` give `riverx` and `stone`: the text is read, in part."""
    assert not read(word_piece(), "x stone", "river").reading.is_unreadable
    assert read(word_piece(), "🐳", "river").reading.is_unreadable
    assert not read(byte_level(), "/", "river:/").reading.is_unreadable


def test_every_window_counts() -> None:
    text = ("river " * 10 + "🐳 ") * 8
    for prompt in ("", "stone "):
        tokenised = read(word_piece(), text, prompt, overflow="mean", limit=16)
        assert len(tokenised.windows) > 4
        assert tokenised.reading.unknown == 8
    assert read(word_piece(), text, limit=16).reading.unknown == 1


def test_only_what_is_encoded_counts() -> None:
    """The first sixteen tokens decide a vector: that the rest is known does not help."""
    text = "🐳 " * 20 + "river"
    cut = read(word_piece(), text, limit=16).reading
    assert (cut.unknown, cut.is_unreadable) == (14, True)
    assert not read(word_piece(), text, overflow="mean", limit=16).reading.is_unreadable


@given(st.lists(st.sampled_from(["river", "stone", ",", "🐳", "[SEP]", "[PAD]", "x"]), max_size=30))
def test_the_counts_are_those_of_the_pieces(pieces: Sequence[str]) -> None:
    reading = read(word_piece(), " ".join(pieces), limit=64).reading
    assert reading.unknown == pieces.count("🐳")
    assert reading.has_control == bool({"[SEP]", "[PAD]"} & {*pieces})
    assert reading.is_unreadable == ({*pieces} <= {"🐳"})


def test_minilm_says_what_it_cannot_read(minilm: Encoder) -> None:
    texts = ["a heron in shallow water", EMOJI, FORMULA, "x" * 5000, "\ufffd\ufffd",
             "a [SEP] b", "a heron 🐳"]  # fmt: skip
    found = minilm.encode(texts)
    assert list(found.positions) == list(range(7))
    assert list(found.unreadable) == [1, 2, 3, 4]
    assert {failure.reason for failure in found.unreadable.values()} == {Reason.UNKNOWN_TEXT}
    assert [facts["text_rules"] for facts in found.facts] == [*[""] * 5, "control-tokens", ""]
    assert [facts["tokens_unknown"] for facts in found.facts] == [0, 3, 1, 1, 0, 0, 1]
    np.testing.assert_array_equal(found.vectors[2], found.vectors[3])
