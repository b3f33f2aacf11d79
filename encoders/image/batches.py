"""Runs images of one shape through an engine, in batches that shrink when the device is full."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.errors import DeviceOutOfMemory, device_memory_error

Pixels = NDArray[Any]


class ImageBatches:
    """An engine, and how many images it gets at a time: fewer from the first time it was full."""

    def __init__(self, engine: Engine, rows: int, *, fill: bool = False) -> None:
        """Set the size of a batch.

        Args:
            engine: what computes.
            rows: images in a batch.
            fill: make the last batch as large as the others by repeating its last image.
        """
        self.engine, self.rows, self._fill = engine, rows, fill

    def run(self, images: Iterable[Pixels]) -> Iterator[tuple[list[Pixels], NDArray[np.float32]]]:
        """Each batch of images with its vectors (n, dim), in order.

        Raises:
            EncoderError: the device has no memory for one image.
        """
        images = iter(images)
        running: deque[list[Pixels]] = deque()
        while True:
            try:
                for vectors in self.engine.run(self._batches(images, running)):
                    batch = running.popleft()
                    yield batch, vectors[: len(batch)]
            except DeviceOutOfMemory as error:
                self._shrink(self.rows if self._fill else max(map(len, running)), error)
                images = chain([image for batch in running for image in batch], images)
                running.clear()
            else:
                return

    def _batches(self, images: Iterator[Pixels], running: deque[list[Pixels]]) -> Iterator[Arrays]:
        """The batches for the engine, each appended to `running` before it is yielded."""
        waiting: list[Pixels] = []
        for image in images:
            waiting.append(image)
            if len(waiting) >= self.rows:
                running.append(waiting)
                yield (np.stack(waiting),)
                waiting = []
        if waiting:
            running.append(waiting)
            filler = [waiting[-1]] * (self.rows - len(waiting)) if self._fill else []
            yield (np.stack(waiting + filler),)

    def _shrink(self, tried: int, error: DeviceOutOfMemory) -> None:
        if tried == 1:
            raise device_memory_error("one image") from error
        self.rows = tried // 2
