"""Decodes image files and prepares them for a network, in threads that work ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from PIL import Image

from commonspace.encoders.engines.bounded_map import bounded_map
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.image.batches import Pixels
from commonspace.encoders.image.image_file import read_image
from commonspace.encoders.image.time_limit import TimeLimitedExecutor
from commonspace.encoders.protocol import (
    IMAGE_LIMITS,
    Content,
    Fact,
    Failure,
    ImageLimits,
    too_slow,
)

_MOST_THREADS = 16

Prepare = Callable[[Image.Image, Mapping[str, Any]], Pixels]
"""From an RGB image and `spec.preprocessing` to an array of one shape."""
PreparedImage = tuple[Pixels, dict[str, Fact]]
"""The array that a network takes, and the facts of its row."""
Outcomes = Generator[PreparedImage | Failure, None, None]


class Decoder(Protocol):
    """Decodes image files, accepting what `read_image` accepts, and prepares them for a network."""

    @property
    def threads(self) -> int:
        """How many files it decodes at once."""
        ...

    def decode(self, contents: Iterable[Content], limit: int) -> Outcomes:
        """The prepared image of each content or its failure, in order.

        Args:
            contents: bytes of image files.
            limit: how many contents may be decoded ahead of the consumer.

        Raises:
            EncoderError: the device that decodes has failed, or has no memory for one image.
        """
        ...


class PillowDecoder:
    """Decodes with Pillow, and libjpeg-turbo for JPEG: the same bits on every machine."""

    def __init__(
        self,
        preprocessing: Mapping[str, Any],
        prepare: Prepare,
        limits: ImageLimits = IMAGE_LIMITS,
    ) -> None:
        """Prepare each image by `prepare`, which is given `preprocessing` as in the spec.

        An image that costs more than `limits` is a failure.
        """
        self._preprocessing, self._prepare, self.limits = preprocessing, prepare, limits
        self.threads = min(_MOST_THREADS, choose_threads())

    def decode(self, contents: Iterable[Content], limit: int) -> Outcomes:
        """As `Decoder.decode`."""
        with self.executor() as executor:
            yield from bounded_map(executor, self.read, contents, limit)

    def executor(self) -> TimeLimitedExecutor:
        """The threads that decode."""
        seconds = self.limits.seconds
        return TimeLimitedExecutor(self.threads, seconds, partial(too_slow, seconds))

    def read(self, content: Content) -> PreparedImage | Failure:
        """The prepared image of one content, or its failure."""
        image = read_image(content, self.limits.pixels)
        if isinstance(image, Failure):
            return image
        return self._prepare(image.pixels, self._preprocessing), dict(image.facts)


def add_image_rule(facts: dict[str, Fact], rule: str) -> None:
    """Add a rule to those that a row's `image_rules` names."""
    rules = facts["image_rules"]
    facts["image_rules"] = f"{rules},{rule}" if rules else rule
