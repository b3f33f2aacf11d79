"""The pixels of a Pillow image where they lie, without a copy.

Pillow keeps RGB in four bytes a pixel, and hands them out by the Arrow C data interface
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
    """The struct up to the last member that is read here."""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "nulls", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def rgbx_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(height, width, 4) uint8 of an RGB image: red, green, blue and a byte of no meaning.

    Not to be written to. The image may go: the memory stays for as long as the array.
    """
    shape = (image.height, image.width, 4)
    try:
        _, capsule = image.__arrow_c_array__()
    except ValueError:  # beyond 16 MB, Pillow keeps an image in several pieces
        return np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(shape)
    return np.asarray(_Memory(capsule, shape))


class _Memory:
    """What numpy takes an array's memory from, and keeps alive beside it."""

    def __init__(self, capsule: Any, shape: tuple[int, int, int]) -> None:
        self._capsule = capsule  # releases the memory when it goes
        array = _ArrowArray.from_address(_pointer(capsule, b"arrow_array"))
        address = array.children[0].contents.buffers[1]
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "|u1",
            "data": (address, True),
        }
