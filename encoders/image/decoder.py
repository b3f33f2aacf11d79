"""From image files to what a network takes: what decodes, and how far ahead it works."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from PIL import Image

from commonspace.encoders.engines.bounded_map import bounded_map
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.image.batches import Pixels
from commonspace.encoders.image.image_file import read_image
from commonspace.encoders.protocol import Content, Fact, Failure

_MOST_THREADS = 16

Prepare = Callable[[Image.Image, Mapping[str, Any]], Pixels]
"""An RGB image and `spec.preprocessing` to an array of one shape."""
PreparedImage = tuple[Pixels, dict[str, Fact]]
"""What a network takes of an image, and the facts of its row."""
Outcomes = Generator[PreparedImage | Failure, None, None]


class Decoder(Protocol):
    """Decodes image files by `image_rules` and prepares them for a network."""

    @property
    def threads(self) -> int:
        """How many files it works on at once."""
        ...

    def decode(self, contents: Iterable[Content], limit: int) -> Outcomes:
        """Each content's outcome, in order, at most `limit` contents ahead of the consumer.

        Raises:
            EncoderError: the device that decodes has failed, or has no memory for one image.
        """
        ...


class PillowDecoder:
    """Pillow, with libjpeg-turbo for JPEG, in threads: the same bits on every machine."""

    def __init__(self, preset: Mapping[str, Any], prepare: Prepare) -> None:
        """preset: `spec.preprocessing`, as `prepare` takes it."""
        self._preset, self._prepare = preset, prepare
        self.threads = min(_MOST_THREADS, choose_threads())

    def decode(self, contents: Iterable[Content], limit: int) -> Outcomes:
        """As `Decoder.decode`."""
        with ThreadPoolExecutor(self.threads, "decode") as executor:
            yield from bounded_map(executor, self.read, contents, limit)

    def read(self, content: Content) -> PreparedImage | Failure:
        """The outcome of one content."""
        image = read_image(content)
        if isinstance(image, Failure):
            return image
        return self._prepare(image.pixels, self._preset), dict(image.facts)


def add_image_rule(facts: dict[str, Fact], rule: str) -> None:
    """Add a rule to those that the facts of a row name."""
    done = facts["image_rules"]
    facts["image_rules"] = f"{done},{rule}" if done else rule
