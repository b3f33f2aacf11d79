"""The pixels of a Pillow image as an array, without a copy.

Pillow keeps RGB in four bytes a pixel, and exports them by the Arrow C data interface
(https://arrow.apache.org/docs/format/CDataInterface.html) as a list of four bytes per pixel:
one array, whose only child holds the bytes as its second buffer.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class _ArrowArray(ctypes.Structure):
    """Arrow's struct, up to the last member that is read here."""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "nulls", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def rgbx_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(height, width, 4) uint8 of an RGB image: red, green, blue and a byte without meaning.

    The array is read-only, and keeps the memory alive when the image is gone.
    """
    shape = (image.height, image.width, 4)
    try:
        _, capsule = image.__arrow_c_array__()
    except ValueError:  # Pillow keeps an image beyond 16 MB in several blocks
        return np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(shape)
    return np.asarray(_Memory(capsule, shape))


class _Memory:
    """The owner of an array's memory, which numpy keeps alive with the array."""

    def __init__(self, capsule: Any, shape: tuple[int, int, int]) -> None:
        self._capsule = capsule  # its destructor releases the memory
        array = _ArrowArray.from_address(_pointer(capsule, b"arrow_array"))
        address = array.children[0].contents.buffers[1]
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "|u1",
            "data": (address, True),
        }
