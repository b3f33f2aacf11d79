"""Cuts long texts into passages that each fit the model.

Texts are cut between paragraphs, else between sentences, else between words; only a word that does
not fit by itself is cut inside. No character is changed: a passage is a slice of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from commonspace.encoders.errors import INSTALL_HINT, EncoderError, WeightsRefused
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.validity import text_failure

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter

WINDOW = 32
"""Characters the splitter sees at once, for each token of a passage: some eight passages of prose.
Its time grows with the square of a text without sentences: 160,000 ideographs take 11 s at once,
0.6 s window by window; prose takes the same time either way."""

Span = tuple[int, int]
"""First character and the one after the last, as Python slices a `str`."""


class PassageSplitter:
    """Cuts texts into spans that each fit: ascending, without overlap.

    The spans hold every visible character. A text that fits is one span; so is a text that cannot
    be encoded (`text.validity`), for the encoder to say why. Where a text is changed, the cuts
    before the change stay the same. Those after it do so again from one of the next paragraphs on,
    or, in a text without paragraphs, some dozens of passages later.
    """

    def __init__(self, splitter: TextSplitter, capacity: int, fits: Callable[[str], bool]) -> None:
        """Set what a passage may hold.

        Args:
            splitter: proposes spans of at most `capacity`.
            capacity: in the units that `splitter` counts.
            fits: whether a passage fits the model; a span that does not is cut further.
        """
        self._splitter, self._window, self._fits = splitter, WINDOW * capacity, fits

    def __call__(self, text: str) -> list[Span]:
        """The spans of `text`, at least one."""
        if text_failure(text) or (len(text) <= self._window and self._fits(text)):
            return [(0, len(text))]
        fitting = (
            span for start, end in self._proposed(text) for span in self._fitting(text, start, end)
        )
        return [(start, end) for start, end in fitting if not text_failure(text[start:end])]

    def _proposed(self, text: str) -> Iterator[Span]:
        """The splitter's spans, window by window.

        The end of a window may cut its last span short, so the next window begins with that span.
        """
        start, width = 0, self._window
        while start < len(text):
            end = min(start + width, len(text))
            chunks = self._splitter.chunk_indices(text[start:end])
            spans = [(start + first, start + first + len(chunk)) for first, chunk in chunks]
            if end == len(text) or not spans:
                yield from spans
                start, width = end, self._window
            elif len(spans) == 1:
                width *= 2
            else:
                yield from spans[:-1]
                start, width = spans[-1][0], self._window

    def _fitting(self, text: str, start: int, end: int) -> Iterator[Span]:
        """The span if it fits, else its halves, cut at a space; a lone character is never cut."""
        if end - start < 2 or self._fits(text[start:end]):
            yield start, end
            return
        middle = (start + end) // 2
        space = text.rfind(" ", start, middle)
        cut = space if space > start else middle
        yield from self._fitting(text, start, cut)
        yield from self._fitting(text, cut, end)


def token_passage_splitter(path: Path, spec: EncoderSpec) -> PassageSplitter:
    """Cuts into at most `spec.max_tokens` tokens, with the document prompt and special tokens.

    Args:
        path: the model's `tokenizer.json`.
        spec: of the model.

    Raises:
        WeightsRefused: the model has no such file, or its prompt leaves no room for a text.
        EncoderError: a library is not installed.
    """
    try:
        from semantic_text_splitter import TextSplitter
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    if not path.exists():
        raise WeightsRefused(
            "the model has no tokenizer.json, which is needed to cut its texts into passages",
            item=str(path.parent),
            do="Load the tokenizer once with transformers and save it, or set another `overflow`.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise WeightsRefused(
            f"the file is no tokenizer: {error}",
            item=str(path),
            do="Copy or download the file again.",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    prompt, limit = spec.prompts["document"], spec.max_tokens or 0
    capacity = limit - len(tokenizer.encode(prompt).ids)
    if capacity < 1:
        raise WeightsRefused(
            f"the prompt of the model leaves no room for a text within its {limit} tokens",
            item=str(path.parent),
            do="Set another `overflow`.",
        )
    splitter = TextSplitter.from_huggingface_tokenizer(tokenizer, capacity)
    return PassageSplitter(
        splitter, capacity, lambda text: len(tokenizer.encode(prompt + text)) <= limit
    )


def character_passage_splitter(limit: int) -> PassageSplitter:
    """Cuts into at most `limit` characters, counted after case folding.

    Raises:
        EncoderError: a library is not installed.
    """
    try:
        from semantic_text_splitter import TextSplitter
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error

    def count(text: str) -> int:
        return len(text.casefold())

    splitter = TextSplitter.from_callback(count, limit)
    return PassageSplitter(splitter, limit, lambda text: count(text) <= limit)


def _not_installed(error: ModuleNotFoundError) -> EncoderError:
    return EncoderError(f"{error.name} is not installed", do=INSTALL_HINT)
