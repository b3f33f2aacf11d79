"""JPEG on a GPU: nvJPEG decodes, CUDA turns upright, resizes and crops.

Through `torchvision.io.decode_jpeg`. nvJPEG's pixels are not libjpeg's: torchvision has it repeat
the colours of 4:2:0, which libjpeg interpolates. Not run on a card yet: on a CPU the same call
decodes by libjpeg, which is how this file is tested.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from commonspace.encoders.engines.device_errors import run_on_device
from commonspace.encoders.errors import DeviceOutOfMemory, EncoderError, device_memory_error
from commonspace.encoders.image.crops import Crop, crop_image, crop_tensor
from commonspace.encoders.nvjpeg.plain_jpeg import PlainJpeg, plain_jpeg

FILES = 64
_NEAR = 8.0
"""Levels, on average, that the probe may lie from Pillow's: its channels in order, none grey."""
_DO = 'Leave `decoder = "nvjpeg"` out in a new version of the space: Pillow makes other vectors.'

_TURNS: Mapping[int, tuple[bool, tuple[int, ...]]] = {
    1: (False, ()),
    2: (False, (2,)),
    3: (False, (1, 2)),
    4: (False, (1,)),
    5: (True, ()),
    6: (True, (2,)),
    7: (True, (1, 2)),
    8: (True, (1,)),
}
"""By EXIF orientation: whether height and width are swapped, and the axes then mirrored.
CIPA DC-008 (Exif 2.32), 4.6.4: where the 0th row and the 0th column are seen."""


class GpuJpegCropper:
    """Plain JPEGs to the crops a network sees, on one device, fewer at a time once it was full."""

    def __init__(self, preset: Mapping[str, Any], device: str) -> None:
        """preset: `spec.preprocessing`.

        Raises:
            EncoderError: the device does not decode, or has failed.
        """
        self.files = FILES
        self._preset = preset
        self._device = torch.device(device)
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            self._device = self._stream.device  # with its number: threads begin on cuda:0
        self._probe = _probe()
        self._require_pixels()

    def __call__(self, files: Sequence[PlainJpeg]) -> list[Crop | None]:
        """The crop of each file, None where nvJPEG refuses the file alone; from one thread.

        Raises:
            EncoderError: the device has failed, or has no memory for one image.
        """
        if not files:
            return []
        try:
            return run_on_device(self._decoded, files)
        except DeviceOutOfMemory as error:
            if len(files) == 1:
                raise _no_memory() from error
            self.files = len(files) // 2
        except RuntimeError:  # one file fails them all
            self._settle()
            if len(files) == 1:
                self._require_pixels()  # is it the file, or the device?
                return [None]
        half = len(files) // 2
        return self(files[:half]) + self(files[half:])

    def _decoded(self, files: Sequence[PlainJpeg]) -> list[Crop | None]:
        with torch.inference_mode(), self._own_stream():
            coded = [_coded(file) for file in files]
            if self._stream is not None:
                self._stream.synchronize()
            pixels = decode_jpeg(coded, mode=ImageReadMode.RGB, device=self._device)
            pairs = zip(pixels, files, strict=True)
            crops = [self._cropped(image, file) for image, file in pairs]
            return [None if crop is None else crop.cpu().numpy() for crop in crops]

    def _cropped(self, image: torch.Tensor, file: PlainJpeg) -> torch.Tensor | None:
        if image.shape != (3, file.height, file.width):
            return None
        return crop_tensor(upright(image, file.orientation), self._preset)

    def _own_stream(self) -> Any:
        """A stream that nothing else uses, drained before nvJPEG writes.

        torchvision decodes on a stream of its own that never waits for the caller's, and nvJPEG's
        hardware waits for none: into memory that was freed while queued kernels still read it
        (pytorch/vision#9606). What is freed on this stream is given out on this stream only, so
        no forward pass, on the default one, ever reads what nvJPEG writes to.
        """
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _settle(self) -> None:
        """Wait for what was begun before a failure; it may still write. Raises EncoderError."""
        if self._stream is not None:
            run_on_device(torch.cuda.synchronize, self._device)

    def _require_pixels(self) -> None:
        try:
            (found,) = run_on_device(self._decoded, [self._probe])
        except DeviceOutOfMemory as error:
            raise _no_memory() from error
        except RuntimeError as error:
            said = str(error).splitlines()[0]
            raise EncoderError(f"nvJPEG does not decode: {said}", do=_DO) from error
        expected = crop_image(Image.open(io.BytesIO(self._probe.content)), self._preset)
        apart = 255.0 if found is None else float(np.abs(found.astype(int) - expected).mean())
        if apart > _NEAR:
            raise EncoderError(f"nvJPEG's pixels lie {apart:.0f} levels from Pillow's", do=_DO)


def upright(image: torch.Tensor, orientation: int) -> torch.Tensor:
    """(3, height, width) as its EXIF orientation says it is to be seen, contiguous."""
    swapped, mirrored = _TURNS[orientation]
    turned = image.transpose(1, 2) if swapped else image
    return (turned.flip(mirrored) if mirrored else turned).contiguous()


def _coded(file: PlainJpeg) -> torch.Tensor:
    """The file's bytes up to its end marker, (n,) uint8 on the CPU."""
    return torch.frombuffer(bytearray(memoryview(file.content)[: file.end]), dtype=torch.uint8)


def _probe() -> PlainJpeg:
    """Slopes in three directions, one a channel, so that a swap or a turn shows."""
    rows, columns = np.mgrid[:96, :128]
    channels = (2 * columns, 255 - 2 * rows, columns + rows)
    image = Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling="4:4:4")
    probe = plain_jpeg(file.getvalue())
    assert probe is not None  # noqa: S101 - written in the line above
    return probe


def _no_memory() -> EncoderError:
    return device_memory_error("decoding one image", or_else="or compute on a larger one")
