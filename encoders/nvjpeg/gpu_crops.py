"""From JPEG files to crops on a GPU: nvJPEG decodes, CUDA turns upright, resizes and crops.

`torchvision.io.decode_jpeg` calls nvJPEG. Its pixels differ from libjpeg's: torchvision has it
repeat the colours of 4:2:0, which libjpeg interpolates. This has not run on a GPU yet: on a CPU the
same call decodes by libjpeg, which is how it is tested.
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

BATCH_SIZE = 64
"""Files that are decoded together."""
_PROBE_TOLERANCE = 8.0
"""Levels by which the probe's pixels may differ from Pillow's on average: enough for another
decoder, too little for swapped or missing colours."""
_WITHOUT = (
    'Add a new version of the space without `decoder = "nvjpeg"`: '
    "the vectors of images that Pillow decodes are different."
)

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
    """Makes the crops that a network sees of plain JPEGs, on one device.

    Attributes:
        batch_size: how many files it should be given at once; it shrinks when the device is full.
    """

    def __init__(self, preprocessing: Mapping[str, Any], device: str) -> None:
        """Check that the device decodes; `preprocessing` is the spec's.

        Raises:
            EncoderError: the device does not decode, or has failed.
        """
        self.batch_size = BATCH_SIZE
        self._preprocessing = preprocessing
        self._device = torch.device(device)
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            self._device = self._stream.device  # with its number, as new threads use cuda:0
        self._probe = _probe()
        self._require_pixels()

    def __call__(self, files: Sequence[PlainJpeg]) -> list[Crop | None]:
        """The crop of each file, None where nvJPEG refuses it by itself; call from one thread only.

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
            self.batch_size = len(files) // 2
        except RuntimeError:  # one bad file fails the whole batch
            self._wait_for_device()
            if len(files) == 1:
                self._require_pixels()  # raises if the cause is the device and not the file
                return [None]
        half = len(files) // 2
        return self(files[:half]) + self(files[half:])

    def _decoded(self, files: Sequence[PlainJpeg]) -> list[Crop | None]:
        with torch.inference_mode(), self._own_stream():
            file_bytes = [_bytes_of(file) for file in files]
            if self._stream is not None:
                self._stream.synchronize()
            images = decode_jpeg(file_bytes, mode=ImageReadMode.RGB, device=self._device)
            pairs = zip(images, files, strict=True)
            crops = [self._cropped(image, file) for image, file in pairs]
            return [None if crop is None else crop.cpu().numpy() for crop in crops]

    def _cropped(self, image: torch.Tensor, file: PlainJpeg) -> torch.Tensor | None:
        if image.shape != (3, file.height, file.width):
            return None
        return crop_tensor(upright(image, file.orientation), self._preprocessing)

    def _own_stream(self) -> Any:
        """A stream that nothing else uses; it is drained before nvJPEG writes.

        torchvision decodes on a stream of its own, which never waits for the caller's. It may thus
        write to memory that was freed while queued kernels still read it (pytorch/vision#9606).
        Memory freed on this stream is reused on this stream only, so no forward pass, which runs
        on the default stream, ever reads what nvJPEG writes to.
        """
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _wait_for_device(self) -> None:
        """Wait for what was started before a failure: it may still write."""
        if self._stream is not None:
            run_on_device(torch.cuda.synchronize, self._device)

    def _require_pixels(self) -> None:
        """Decode the probe, and compare it with what Pillow decodes."""
        try:
            (crop,) = run_on_device(self._decoded, [self._probe])
        except DeviceOutOfMemory as error:
            raise _no_memory() from error
        except RuntimeError as error:
            message = str(error).splitlines()[0]
            raise EncoderError(f"nvJPEG does not decode: {message}", do=_WITHOUT) from error
        expected = crop_image(Image.open(io.BytesIO(self._probe.content)), self._preprocessing)
        difference = 255.0 if crop is None else float(np.abs(crop.astype(int) - expected).mean())
        if difference > _PROBE_TOLERANCE:
            raise EncoderError(
                f"nvJPEG's pixels lie {difference:.0f} levels from Pillow's", do=_WITHOUT
            )


def upright(image: torch.Tensor, orientation: int) -> torch.Tensor:
    """(3, height, width) turned and mirrored by its EXIF orientation, contiguous."""
    swapped, mirrored = _TURNS[orientation]
    turned = image.transpose(1, 2) if swapped else image
    return (turned.flip(mirrored) if mirrored else turned).contiguous()


def _bytes_of(file: PlainJpeg) -> torch.Tensor:
    """The file's bytes up to its end marker, (n,) uint8 on the CPU."""
    return torch.frombuffer(bytearray(memoryview(file.content)[: file.end]), dtype=torch.uint8)


def _probe() -> PlainJpeg:
    """Slopes in three directions, one in each channel, so that a swap or a turn shows."""
    rows, columns = np.mgrid[:96, :128]
    channels = (2 * columns, 255 - 2 * rows, columns + rows)
    image = Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling="4:4:4")
    probe = plain_jpeg(file.getvalue())
    assert probe is not None  # noqa: S101 - written in the line above
    return probe


def _no_memory() -> EncoderError:
    return device_memory_error("decoding one image", or_else="or use a larger one")
