"""The text encoder: tokens, batches of like length, an engine, the truth about each row.

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
from commonspace.encoders.text.validity import text_failure
from commonspace.encoders.vectors import norm_failures

BLOCK = 4096
"""Texts that are sorted by length together; the next block is tokenised meanwhile."""


@dataclass
class Computation:
    """How windows become vectors: the engine for each purpose, and the shape of its batches.

    exact: what to use for rows that overflowed in half precision, where it is not `engines`.
    budget: padded tokens a batch; halved, for good, when the device is full.
    fill: give each width always the same number of rows (see `batches_by_length`).
    """

    engines: Mapping[Purpose, Engine]
    budget: int
    fill: bool
    exact: Mapping[Purpose, Engine] | None = None


class TextEncoder:
    """Unit vectors of texts, (m, dim) float32.

    On a CPU in fp32 a vector has the same bits in every batch, order and subset; between
    devices it agrees within `spec.tolerance`. What becomes of texts beyond `spec.max_tokens`
    is `spec.overflow`, and each row says it.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        tokens: TextTokenizer,
        inputs: TextInputs,
        computation: Computation,
        device: str,
    ) -> None:
        self.spec = spec
        self.device = device
        self._tokens, self._inputs, self._computation = tokens, inputs, computation
        assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
        self._longest = spec.max_tokens

    @property
    def engine(self) -> str:
        """The library that computes, with its version."""
        return self._computation.engines["document"].name

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """Encode texts, each with the prompt of `purpose` before it."""
        failures = {i: f for i, content in enumerate(contents) if (f := text_failure(content))}
        positions = [i for i in range(len(contents)) if i not in failures]
        prompt = self.spec.prompts[purpose]
        vectors = np.zeros((len(positions), self.spec.dim), dtype=np.float32)
        facts: list[Mapping[str, Fact]] = []
        texts = [str(contents[i]) for i in positions]
        blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
        bad: dict[int, Failure] = {}
        with ThreadPoolExecutor(1, "tokenise") as executor:
            for tokens in bounded_map(
                executor, lambda block: self._tokens(block, prompt), blocks, 2
            ):
                at = len(facts)
                made, failed, rules = self._block(tokens, purpose)
                vectors[at : at + len(tokens)] = made
                facts += [_facts(one, rule) for one, rule in zip(tokens, rules, strict=True)]
                bad |= {at + row: failure for row, failure in failed.items()}
        failures |= {positions[row]: failure for row, failure in bad.items()}
        kept = [row for row in range(len(positions)) if row not in bad]
        return Encoded(
            vectors if not bad else vectors[kept],
            np.array([positions[row] for row in kept], dtype=np.intp),
            [facts[row] for row in kept],
            failures,
        )

    def _block(
        self, tokens: Sequence[TokenisedText], purpose: Purpose
    ) -> tuple[NDArray[np.float32], dict[int, Failure], list[list[str]]]:
        """The vectors of some texts, those that have none, and what was done to each."""
        owners = [row for row, text in enumerate(tokens) for _ in text.windows]
        windows = [window for text in tokens for window in text.windows]
        made, full = self._vectors(windows, self._computation.engines[purpose])
        rules: list[list[str]] = [[] for _ in tokens]
        broken = [] if self._computation.exact is None else _not_finite(made, full)
        if broken and self._computation.exact is not None:
            again = [windows[place] for place in broken]
            made[broken], still = self._vectors(again, self._computation.exact[purpose])
            full |= {broken[place] for place in still}
            for place in broken:
                rules[owners[place]] = ["fp32-fallback"]
        failures = {owners[place]: _out_of_memory() for place in full}
        if len(windows) > len(tokens):
            made = _means(made, windows, owners, len(tokens))
            for row, text in enumerate(tokens):
                if len(text.windows) > 1:
                    rules[row].append(f"mean-of-{len(text.windows)}-windows")
        return made, norm_failures(made) | failures, rules

    def _vectors(
        self, windows: Sequence[Window], engine: Engine
    ) -> tuple[NDArray[np.float32], set[int]]:
        """(windows, dim) float32, and the windows the device had no memory for even alone."""
        vectors = np.zeros((len(windows), self.spec.dim), dtype=np.float32)
        full: set[int] = set()
        waiting = list(range(len(windows)))
        while waiting:
            batches = self._batches(waiting, windows)
            done = self._run(batches, windows, engine, vectors)
            finished = {place for batch in batches[:done] for place in batch.positions}
            if done < len(batches):
                stuck = batches[done]
                if len(stuck.positions) > 1:
                    self._computation.budget = max(1, self._computation.budget // 2)
                else:
                    alone = self._run([stuck], windows, engine, vectors)
                    full.update(stuck.positions if not alone else ())
                    finished.update(stuck.positions)
            waiting = [place for place in waiting if place not in finished]
        return vectors, full

    def _batches(self, waiting: Sequence[int], windows: Sequence[Window]) -> list[Batch]:
        """Batches whose positions are places in `windows`."""
        batches = batches_by_length(
            [len(windows[place].ids) for place in waiting],
            longest=self._longest,
            budget=self._computation.budget,
            fill=self._computation.fill,
        )
        return [replace(b, positions=[waiting[p] for p in b.positions]) for b in batches]

    def _run(
        self,
        batches: Sequence[Batch],
        windows: Sequence[Window],
        engine: Engine,
        vectors: NDArray[np.float32],
    ) -> int:
        """Write the vectors of each batch into its rows; how many batches were done."""
        done = 0
        inputs = (self._inputs.arrays(b, [windows[p] for p in b.positions]) for b in batches)
        try:
            for batch, output in zip(batches, engine.run(inputs), strict=True):
                vectors[list(batch.positions)] = output[: len(batch.positions)]
                done += 1
        except DeviceOutOfMemory:
            pass
        return done


def _means(
    made: NDArray[np.float32], windows: Sequence[Window], owners: Sequence[int], texts: int
) -> NDArray[np.float32]:
    """(texts, dim): the mean of each text's unit vectors, weighted by tokens, of unit norm."""
    sums = np.zeros((texts, made.shape[1]), dtype=np.float64)
    weights = np.array([len(window.ids) for window in windows], dtype=np.float64)
    np.add.at(sums, np.asarray(owners), made * weights[:, None])
    means: NDArray[np.float32] = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype("f4")
    counts = np.bincount(owners, minlength=texts)
    single = np.flatnonzero(counts[owners] == 1)
    means[np.asarray(owners)[single]] = made[single]  # the bits they have without windows
    return means


def _not_finite(vectors: NDArray[np.float32], full: set[int]) -> list[int]:
    places = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
    return [place for place in places if place not in full]


def _facts(tokens: TokenisedText, rules: Sequence[str]) -> Mapping[str, Fact]:
    return {
        "tokens_used": tokens.used,
        "tokens_total": tokens.total,
        "truncated": tokens.total > tokens.used,
        "text_rules": ",".join(rules),
    }


def _out_of_memory() -> Failure:
    return Failure(Reason.ENCODER_FAILED, "no device memory for this text alone", retryable=True)
