"""The decoder of a space with `decoder = "nvjpeg"`: plain JPEGs on the GPU, the rest by Pillow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from commonspace.encoders.engines.bounded_map import bounded_map
from commonspace.encoders.image.crops import crop_image
from commonspace.encoders.image.decoder import (
    Outcomes,
    PillowDecoder,
    PreparedImage,
    add_image_rule,
)
from commonspace.encoders.nvjpeg.gpu_crops import GpuJpegCropper
from commonspace.encoders.nvjpeg.plain_jpeg import PlainJpeg, plain_jpeg
from commonspace.encoders.protocol import Content, Failure

PIXELS = 100_000_000
"""A batch has no more, but for a lone image: 300 MB, and while the largest is resized four bytes
more for each of its values."""

_Item = PlainJpeg | PreparedImage | Failure


class NvjpegDecoder:
    """The rows of files that nvJPEG decoded say `nvjpeg`.

    Every other file goes Pillow's way, to the same pixels or the same failure as in any space: what
    is no plain JPEG, and what nvJPEG refuses alone.
    """

    def __init__(self, preset: Mapping[str, Any], device: str) -> None:
        """preset: `spec.preprocessing`. Raises EncoderError as `GpuJpegCropper`."""
        self._pillow = PillowDecoder(preset, crop_image)
        self._crops = GpuJpegCropper(preset, device)
        self.threads = self._pillow.threads

    def decode(self, contents: Iterable[Content], limit: int) -> Outcomes:
        """As `Decoder.decode`; a batch is decoded while the network computes the one before."""
        with (
            ThreadPoolExecutor(self.threads, "decode") as readers,
            ThreadPoolExecutor(1, "nvjpeg") as device,
            closing(bounded_map(readers, self._read, contents, limit)) as items,
            closing(bounded_map(device, self._finished, self._groups(items), 2)) as groups,
        ):
            for group in groups:
                yield from group

    def _read(self, content: Content) -> _Item:
        return plain_jpeg(content) or self._pillow.read(content)

    def _groups(self, items: Iterable[_Item]) -> Iterator[list[_Item]]:
        group: list[_Item] = []
        pixels = 0
        for item in items:
            more = item.width * item.height if isinstance(item, PlainJpeg) else 0
            if group and (len(group) >= self._crops.files or pixels + more > PIXELS):
                yield group
                group, pixels = [], 0
            group.append(item)
            pixels += more
        if group:
            yield group

    def _finished(self, group: Sequence[_Item]) -> list[PreparedImage | Failure]:
        crops = iter(self._crops([item for item in group if isinstance(item, PlainJpeg)]))
        return [
            self._outcome(item, next(crops)) if isinstance(item, PlainJpeg) else item
            for item in group
        ]

    def _outcome(self, file: PlainJpeg, crop: Any) -> PreparedImage | Failure:
        if crop is None:
            return self._pillow.read(file.content)
        facts = dict(file.facts)
        add_image_rule(facts, "nvjpeg")
        return crop, facts
