"""The image encoder: from bytes of image files to unit vectors."""

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
from commonspace.encoders.protocol import (
    IMAGE_LIMITS,
    Content,
    Encoded,
    Fact,
    Failure,
    ImageLimits,
    Purpose,
)
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import norm_failures

CPU_ROWS = 1
"""Images in a batch on a CPU: one, so that no other image can change a bit of its vector. Larger
batches gain 4 % (measured with ResNet-50)."""
CUDA_ROWS = 128
"""Images in a batch on a CUDA device."""


class ImageEncoder:
    """Unit vectors of images, (m, dim) float32.

    Images are decoded and prepared in threads, ahead of the network. On a CPU a vector has the
    same bits in every batch, order and subset; between devices it agrees within `spec.tolerance`.
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
        limits: ImageLimits = IMAGE_LIMITS,
        fill: bool = False,
    ) -> None:
        """Put an encoder together.

        Args:
            spec: what it computes.
            engine: computes (n, dim) float32 of unit norm from batches of prepared images.
            device: where it computes.
            exact: computes the rows again, in fp32, that `engine` does not make finite.
            prepare: makes the engine's input of an image that Pillow decoded.
            decoder: decodes and prepares images in place of Pillow and `prepare`.
            limits: what the decoding of an image may cost, if Pillow decodes.
            fill: whether the engine gets batches of one size only.
        """
        self.spec = spec
        self.device = device
        rows = CPU_ROWS if device == "cpu" else CUDA_ROWS
        self.batches = ImageBatches(engine, rows, fill=fill)
        self._exact = ImageBatches(exact, rows) if exact is not None else None
        self._decoder = decoder or PillowDecoder(spec.preprocessing, prepare, limits)

    @property
    def engine(self) -> str:
        """The library that computes, with its version."""
        return self.batches.engine.name

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """As `Encoder.encode`; `purpose` changes nothing, as images have no prompts.

        Raises:
            EncoderError: the device has failed, or has no memory for one image.
        """
        del purpose
        failures: dict[int, Failure] = {}
        positions: list[int] = []
        facts: list[dict[str, Fact]] = []

        def pixels_of_decoded(outcomes: Iterable[PreparedImage | Failure]) -> Iterator[Pixels]:
            for position, outcome in enumerate(outcomes):
                if isinstance(outcome, Failure):
                    failures[position] = outcome
                    continue
                positions.append(position)
                facts.append(outcome[1])
                yield outcome[0]

        limit = 2 * self.batches.rows + self._decoder.threads
        with closing(self._decoder.decode(contents, limit)) as outcomes:
            vectors = self._encode_pixels(pixels_of_decoded(outcomes), facts)
        return Encoded.of_rows(vectors, positions, facts, norm_failures(vectors), failures)

    def _encode_pixels(
        self, images: Iterator[Pixels], facts: list[dict[str, Fact]]
    ) -> NDArray[np.float32]:
        """(n, dim) float32; the facts of rows that were computed again in fp32 say so."""
        parts = [np.empty((0, self.spec.dim), dtype=np.float32)]
        start = 0
        for batch, vectors in self.batches.run(images):
            if self._exact is not None:
                overflowed = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
                recomputed = _rows(self._exact, [batch[row] for row in overflowed])
                for row, vector in zip(overflowed, recomputed, strict=True):
                    vectors[row] = vector
                    add_image_rule(facts[start + row], "fp32-fallback")
            parts.append(vectors)
            start += len(batch)
        return np.concatenate(parts)


def _rows(batches: ImageBatches, images: Sequence[Pixels]) -> Iterator[NDArray[np.float32]]:
    """The vector of each image."""
    for _, vectors in batches.run(images):
        yield from vectors
