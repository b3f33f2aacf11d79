"""The decoder for `decoder = "nvjpeg"`: plain JPEGs on the GPU, all other files by Pillow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from commonspace.encoders.engines.bounded_map import bounded_map
from commonspace.encoders.image.crops import Crop, crop_image
from commonspace.encoders.image.decoder import (
    Outcomes,
    PillowDecoder,
    PreparedImage,
    add_image_rule,
)
from commonspace.encoders.nvjpeg.gpu_crops import GpuJpegCropper
from commonspace.encoders.nvjpeg.plain_jpeg import PlainJpeg, plain_jpeg
from commonspace.encoders.protocol import IMAGE_LIMITS, Content, Failure, ImageLimits

MAX_PIXELS = 100_000_000
"""Of a batch, unless a single image has more. As RGB these are 300 MB; while the largest image is
resized, each of its values takes four bytes more."""

_Item = PlainJpeg | PreparedImage | Failure


class NvjpegDecoder:
    """Decodes plain JPEGs by nvJPEG, and adds the rule `nvjpeg` to the facts of their rows.

    Every other file, and any that nvJPEG refuses by itself, is decoded by Pillow, to the same
    pixels or the same failure as in other spaces.
    """

    def __init__(
        self, preprocessing: Mapping[str, Any], device: str, limits: ImageLimits = IMAGE_LIMITS
    ) -> None:
        """Set up both decoders; `preprocessing` is the spec's.

        Reading an image, and decoding it by Pillow, may cost `limits`.

        Raises:
            EncoderError: the device does not decode, or has failed.
        """
        self._pillow = PillowDecoder(preprocessing, crop_image, limits)
        self._crop_files = GpuJpegCropper(preprocessing, device)
        self.threads = self._pillow.threads

    def decode(self, contents: Iterable[Content], limit: int) -> Outcomes:
        """As `Decoder.decode`; a batch is decoded while the network computes the one before."""
        with (
            self._pillow.executor() as readers,
            ThreadPoolExecutor(1, "nvjpeg") as device,
            closing(bounded_map(readers, self._read, contents, limit)) as items,
            closing(bounded_map(device, self._decode_group, self._groups(items), 2)) as groups,
        ):
            for group in groups:
                yield from group

    def _read(self, content: Content) -> _Item:
        return plain_jpeg(content, self._pillow.limits.pixels) or self._pillow.read(content)

    def _groups(self, items: Iterable[_Item]) -> Iterator[list[_Item]]:
        group: list[_Item] = []
        pixels = 0
        for item in items:
            added = item.width * item.height if isinstance(item, PlainJpeg) else 0
            if group and (len(group) >= self._crop_files.batch_size or pixels + added > MAX_PIXELS):
                yield group
                group, pixels = [], 0
            group.append(item)
            pixels += added
        if group:
            yield group

    def _decode_group(self, group: Sequence[_Item]) -> list[PreparedImage | Failure]:
        crops = iter(self._crop_files([item for item in group if isinstance(item, PlainJpeg)]))
        return [
            self._outcome(item, next(crops)) if isinstance(item, PlainJpeg) else item
            for item in group
        ]

    def _outcome(self, file: PlainJpeg, crop: Crop | None) -> PreparedImage | Failure:
        if crop is None:
            return self._pillow.read(file.content)
        facts = dict(file.facts)
        add_image_rule(facts, "nvjpeg")
        return crop, facts
