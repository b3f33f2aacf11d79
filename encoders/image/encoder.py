"""The image encoder: bytes of image files to unit vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.image.batches import ImageBatches, Pixels
from commonspace.encoders.image.crops import crop_image
from commonspace.encoders.image.decoder import (
    Decoder,
    PillowDecoder,
    Prepare,
    PreparedImage,
    add_image_rule,
)
from commonspace.encoders.protocol import Content, Encoded, Fact, Failure, Purpose
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import norm_failures

CPU_ROWS = 1
"""So that no neighbour can change a bit. Measured on ResNet-50: larger batches gain 4 %."""
CUDA_ROWS = 128


class ImageEncoder:
    """Unit vectors of images, (m, dim) float32.

    Images are decoded by `image_rules` and prepared in threads, ahead of the network. On a CPU
    a vector has the same bits in every batch, order and subset; between devices it agrees
    within `spec.tolerance`.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        engine: Engine,
        device: str,
        *,
        exact: Engine | None = None,
        prepare: Prepare = crop_image,
        decoder: Decoder | None = None,
        fill: bool = False,
    ) -> None:
        """engine: batches of what `prepare` makes to (n, dim) float32 of unit norm.

        exact: computes again, in fp32, the rows of `engine` that are not finite.
        prepare: what Pillow's images go through; decoder: takes its place, and Pillow's.
        fill: give the engine batches of one size only.
        """
        self.spec = spec
        self.device = device
        rows = CPU_ROWS if device == "cpu" else CUDA_ROWS
        self._batches = ImageBatches(engine, rows, fill=fill)
        self._exact = ImageBatches(exact, rows) if exact is not None else None
        self._decoder = decoder or PillowDecoder(spec.preprocessing, prepare)

    @property
    def engine(self) -> str:
        """The library that computes, with its version."""
        return self._batches.engine.name

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """Encode image files; `purpose` changes nothing, as there are no prompts.

        Raises:
            EncoderError: the device has failed, or has no memory for one image.
        """
        del purpose
        failures: dict[int, Failure] = {}
        positions: list[int] = []
        facts: list[dict[str, Fact]] = []

        def decoded(outcomes: Iterable[PreparedImage | Failure]) -> Iterator[Pixels]:
            for position, outcome in enumerate(outcomes):
                if isinstance(outcome, Failure):
                    failures[position] = outcome
                    continue
                positions.append(position)
                facts.append(outcome[1])
                yield outcome[0]

        limit = 2 * self._batches.rows + self._decoder.threads
        with closing(self._decoder.decode(contents, limit)) as outcomes:
            vectors = self._vectors(decoded(outcomes), facts)
        bad = norm_failures(vectors)
        failures |= {positions[row]: failure for row, failure in bad.items()}
        kept = [row for row in range(len(positions)) if row not in bad]
        return Encoded(
            vectors if not bad else vectors[kept],
            np.array([positions[row] for row in kept], dtype=np.intp),
            [facts[row] for row in kept],
            failures,
        )

    def _vectors(
        self, images: Iterator[Pixels], facts: list[dict[str, Fact]]
    ) -> NDArray[np.float32]:
        """(n, dim) float32; the facts of rows that were computed again say so."""
        parts = [np.empty((0, self.spec.dim), dtype=np.float32)]
        done = 0
        for batch, vectors in self._batches.run(images):
            if self._exact is not None:
                broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
                for row, again in zip(broken, self._again(batch, broken), strict=True):
                    vectors[row] = again
                    add_image_rule(facts[done + row], "fp32-fallback")
            parts.append(vectors)
            done += len(batch)
        return np.concatenate(parts)

    def _again(
        self, batch: Sequence[Pixels], rows: NDArray[np.intp]
    ) -> Iterator[NDArray[np.float32]]:
        if self._exact is not None:
            for _, vectors in self._exact.run(batch[row] for row in rows):
                yield from vectors
