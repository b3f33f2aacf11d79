"""The text encoder: tokenises, batches texts by length, runs an engine, says what was encoded.

Texts are never handed to `SentenceTransformer.encode`: a model that also takes images would
fetch a text that is an address, and open one that is a path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.engines.bounded_map import bounded_map
from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.errors import DeviceOutOfMemory
from commonspace.encoders.protocol import Content, Encoded, Fact, Failure, Purpose, Reason
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.batches import Batch, batches_by_length
from commonspace.encoders.text.model_inputs import TextInputs
from commonspace.encoders.text.tokenizer import TextTokenizer, TokenisedText, Window
from commonspace.encoders.text.validity import UNREADABLE, text_failure
from commonspace.encoders.vectors import norm_failures

BLOCK = 4096
"""Texts that are batched by length together, while the next block is tokenised."""


@dataclass
class Computation:
    """How windows become vectors: the engine for each purpose, and the shape of its batches.

    Attributes:
        engines: what computes, by purpose.
        token_budget: padded tokens in a batch; halved, and not raised again, when a device is full.
        fill: whether each batch of a width gets the same number of rows, as `batches_by_length`.
        exact: fp32 engines for rows that overflow in half precision; None where all are fp32.
    """

    engines: Mapping[Purpose, Engine]
    token_budget: int
    fill: bool
    exact: Mapping[Purpose, Engine] | None = None


class TextEncoder:
    """Unit vectors of texts, (m, dim) float32.

    On a CPU in fp32 a vector has the same bits in every batch, order and subset; between
    devices it agrees within `spec.tolerance`. `spec.overflow` decides how texts beyond
    `spec.max_tokens` are treated, and the facts of each row say so.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        tokenizer: TextTokenizer,
        inputs: TextInputs,
        computation: Computation,
        device: str,
    ) -> None:
        self.spec = spec
        self.device = device
        self.tokenizer, self._inputs, self.computation = tokenizer, inputs, computation
        assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
        self._longest = spec.max_tokens

    @property
    def engine(self) -> str:
        """The library that computes, with its version."""
        return self.computation.engines["document"].name

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """As `Encoder.encode`; each text has the prompt of `purpose` before it."""
        failures = {i: f for i, content in enumerate(contents) if (f := text_failure(content))}
        positions = [i for i in range(len(contents)) if i not in failures]
        encoded = self._encode_valid([str(contents[i]) for i in positions], purpose)
        vectors, facts, failed_rows, unreadable_rows = encoded
        return Encoded.of_rows(vectors, positions, facts, failed_rows, failures, unreadable_rows)

    def _encode_valid(
        self, texts: Sequence[str], purpose: Purpose
    ) -> tuple[
        NDArray[np.float32], list[Mapping[str, Fact]], dict[int, Failure], dict[int, Failure]
    ]:
        """(texts, dim) vectors, the facts of each text, the failures and the unreadable by row."""
        prompt = self.spec.prompts[purpose]
        vectors = np.zeros((len(texts), self.spec.dim), dtype=np.float32)
        facts: list[Mapping[str, Fact]] = []
        failures: dict[int, Failure] = {}
        unreadable: dict[int, Failure] = {}
        blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
        with ThreadPoolExecutor(1, "tokenise") as executor:
            tokenised_blocks = bounded_map(
                executor, lambda block: self.tokenizer(block, prompt), blocks, 2
            )
            for block in tokenised_blocks:
                start = len(facts)
                block_vectors, failed_rows, rules = self._encode_block(block, purpose)
                vectors[start : start + len(block)] = block_vectors
                facts += map(_facts, block, rules)
                failures |= {start + row: failure for row, failure in failed_rows.items()}
                rows = (row for row, text in enumerate(block, start) if text.reading.is_unreadable)
                unreadable |= dict.fromkeys(rows, UNREADABLE)
        return vectors, facts, failures, unreadable

    def _encode_block(
        self, texts: Sequence[TokenisedText], purpose: Purpose
    ) -> tuple[NDArray[np.float32], dict[int, Failure], list[list[str]]]:
        """(texts, dim) vectors, the failures by row, and the rules applied to each text."""
        text_of_window = [row for row, text in enumerate(texts) for _ in text.windows]
        windows = [window for text in texts for window in text.windows]
        vectors, too_large = self._encode_windows(windows, self.computation.engines[purpose])
        rules: list[list[str]] = [[] for _ in texts]
        exact = self.computation.exact
        overflowed = [] if exact is None else _not_finite(vectors, too_large)
        if overflowed and exact is not None:
            vectors[overflowed], still_too_large = self._encode_windows(
                [windows[index] for index in overflowed], exact[purpose]
            )
            too_large |= {overflowed[index] for index in still_too_large}
            for index in overflowed:
                rules[text_of_window[index]] = ["fp32-fallback"]
        failures = {text_of_window[index]: _out_of_memory() for index in too_large}
        if len(windows) > len(texts):
            vectors = _weighted_means(vectors, windows, text_of_window, len(texts))
        for row, text in enumerate(texts):
            if len(text.windows) > 1:
                rules[row].append(f"mean-of-{len(text.windows)}-windows")
            if text.reading.has_control:
                rules[row].append("control-tokens")
        return vectors, norm_failures(vectors) | failures, rules

    def _encode_windows(
        self, windows: Sequence[Window], engine: Engine
    ) -> tuple[NDArray[np.float32], set[int]]:
        """(windows, dim) float32, and the windows the device had no memory for even alone."""
        vectors = np.zeros((len(windows), self.spec.dim), dtype=np.float32)
        too_large: set[int] = set()
        waiting = list(range(len(windows)))
        while waiting:
            batches = self._batches(waiting, windows)
            done = self._run(batches, windows, engine, vectors)
            finished = {index for batch in batches[:done] for index in batch.positions}
            if done < len(batches):
                failed_batch = batches[done]
                if len(failed_batch.positions) > 1:
                    self.computation.token_budget = max(1, self.computation.token_budget // 2)
                else:
                    # Tried once more: batches that ran beside it may have taken the memory.
                    done_alone = self._run([failed_batch], windows, engine, vectors)
                    too_large.update(failed_batch.positions if not done_alone else ())
                    finished.update(failed_batch.positions)
            waiting = [index for index in waiting if index not in finished]
        return vectors, too_large

    def _batches(self, waiting: Sequence[int], windows: Sequence[Window]) -> list[Batch]:
        """Batches of the waiting windows; their positions are indexes into `windows`."""
        batches = batches_by_length(
            [len(windows[index].ids) for index in waiting],
            longest=self._longest,
            token_budget=self.computation.token_budget,
            fill=self.computation.fill,
        )
        return [replace(b, positions=[waiting[p] for p in b.positions]) for b in batches]

    def _run(
        self,
        batches: Sequence[Batch],
        windows: Sequence[Window],
        engine: Engine,
        vectors: NDArray[np.float32],
    ) -> int:
        """Write the vectors of each batch into its rows; returns how many batches were done."""
        done = 0
        inputs = (self._inputs.arrays(b, [windows[p] for p in b.positions]) for b in batches)
        try:
            for batch, output in zip(batches, engine.run(inputs), strict=True):
                vectors[list(batch.positions)] = output[: len(batch.positions)]
                done += 1
        except DeviceOutOfMemory:
            pass
        return done


def _weighted_means(
    vectors: NDArray[np.float32],
    windows: Sequence[Window],
    text_of_window: Sequence[int],
    texts: int,
) -> NDArray[np.float32]:
    """(texts, dim): the mean of each text's unit vectors, weighted by tokens, of unit norm."""
    sums = np.zeros((texts, vectors.shape[1]), dtype=np.float64)
    weights = np.array([len(window.ids) for window in windows], dtype=np.float64)
    np.add.at(sums, np.asarray(text_of_window), vectors * weights[:, None])
    means: NDArray[np.float32] = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype("f4")
    counts = np.bincount(text_of_window, minlength=texts)
    single = np.flatnonzero(counts[text_of_window] == 1)
    # A text of one window keeps the bits that it has without any pooling.
    means[np.asarray(text_of_window)[single]] = vectors[single]
    return means


def _not_finite(vectors: NDArray[np.float32], skipped: set[int]) -> list[int]:
    rows = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
    return [row for row in rows if row not in skipped]


def _facts(text: TokenisedText, rules: Sequence[str]) -> Mapping[str, Fact]:
    return {
        "tokens_used": text.used,
        "tokens_total": text.total,
        "tokens_unknown": text.reading.unknown,
        "truncated": text.total > text.used,
        "text_rules": ",".join(rules),
    }


def _out_of_memory() -> Failure:
    return Failure(Reason.ENCODER_FAILED, "no device memory for this text alone", retryable=True)
