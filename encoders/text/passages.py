"""Passages: where a long text is cut, so that each piece fits the model and reads as one.

Cuts stand at paragraphs, then sentences, then words; only a word that does not fit by itself
is cut inside. No character is changed: a passage is a slice of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter
from commonspace.encoders.errors import INSTALL_HINT, EncoderError, WeightsRefused
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.validity import text_failure

WINDOW = 32
"""Characters the splitter looks at, for each token of capacity: some eight passages of prose.
Its time grows with the square of a text without sentences, such as 160,000 ideographs in
11 s; window by window the same text takes 0.6 s, and prose as long as before."""

Span = tuple[int, int]
"""First character and the one after the last, as Python slices a `str`."""


class Passages:
    """Cuts texts into spans that each fit: ascending, without overlap.

    The spans hold every visible character. A text that fits is one span, whole; so is a text
    that no encoder takes (`text_rules`), for the encoder to say why. Where a text is changed,
    the cuts before the change stay, and those after it fall into step again: at one of the next
    paragraphs, and in a text without any some dozens of passages later.
    """

    def __init__(self, splitter: TextSplitter, capacity: int, fits: Callable[[str], bool]) -> None:
        """capacity: what `splitter` fills a passage up to; `fits` has the last word."""
        self._splitter, self._window, self._fits = splitter, WINDOW * capacity, fits

    def __call__(self, text: str) -> list[Span]:
        """The spans of `text`, at least one."""
        if text_failure(text) or (len(text) <= self._window and self._fits(text)):
            return [(0, len(text))]
        fitting = (
            span for start, end in self._split(text) for span in self._fitting(text, start, end)
        )
        return [(start, end) for start, end in fitting if not text_failure(text[start:end])]

    def _split(self, text: str) -> Iterator[Span]:
        """The splitter's spans. The last of a window may be cut short by it: it is made anew."""
        start, width = 0, self._window
        while start < len(text):
            end = min(start + width, len(text))
            found = self._splitter.chunk_indices(text[start:end])
            spans = [(start + at, start + at + len(chunk)) for at, chunk in found]
            if end == len(text) or not spans:
                yield from spans
                start, width = end, self._window
            elif len(spans) == 1:
                width *= 2
            else:
                yield from spans[:-1]
                start, width = spans[-1][0], self._window

    def _fitting(self, text: str, start: int, end: int) -> Iterator[Span]:
        """The span, or what it has to be cut into; a lone character stays whole."""
        if end - start < 2 or self._fits(text[start:end]):
            yield start, end
            return
        middle = (start + end) // 2
        space = text.rfind(" ", start, middle)
        cut = space if space > start else middle
        yield from self._fitting(text, start, cut)
        yield from self._fitting(text, cut, end)


def passages_of_tokens(path: Path, spec: EncoderSpec) -> Passages:
    """Passages of at most `spec.max_tokens` tokens, the document prompt and specials among them.

    path: the model's `tokenizer.json`.

    Raises:
        WeightsRefused: the model has no such file, or its prompt leaves no room.
        EncoderError: a library is not installed.
    """
    try:
        from semantic_text_splitter import TextSplitter
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    if not path.exists():
        raise WeightsRefused(
            "no tokenizer.json, by which its texts could be cut into passages",
            item=str(path.parent),
            do="Load the tokenizer once with transformers and save it, or set another `overflow`.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise WeightsRefused(f"is no tokenizer: {error}", item=str(path)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    prompt, most = spec.prompts["document"], spec.max_tokens or 0
    capacity = most - len(tokenizer.encode(prompt).ids)
    if capacity < 1:
        raise WeightsRefused(
            f"its prompt leaves no room for a text within {most} tokens", item=str(path.parent)
        )
    splitter = TextSplitter.from_huggingface_tokenizer(tokenizer, capacity)
    return Passages(splitter, capacity, lambda text: len(tokenizer.encode(prompt + text)) <= most)


def passages_of_characters(most: int) -> Passages:
    """Passages of at most `most` characters, counted after case folding.

    Raises:
        EncoderError: a library is not installed.
    """
    try:
        from semantic_text_splitter import TextSplitter
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error

    def count(text: str) -> int:
        return len(text.casefold())

    return Passages(TextSplitter.from_callback(count, most), most, lambda text: count(text) <= most)


def _not_installed(error: ModuleNotFoundError) -> EncoderError:
    return EncoderError(f"{error.name} is not installed", do=INSTALL_HINT)
