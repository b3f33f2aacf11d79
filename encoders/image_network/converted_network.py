"""The folder of an image network that was converted to OpenVINO; loading it builds no network.

record.json, network.xml, network.bin
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commonspace.encoders.converted.cache import load_cached, new_model_folder
from commonspace.encoders.converted.record import read_record, write_record
from commonspace.encoders.engines.openvino_engine import OpenVinoEngine, save_network
from commonspace.encoders.engines.openvino_import import openvino
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.image.crops import crop_image
from commonspace.encoders.image.decoder import PillowDecoder
from commonspace.encoders.image.encoder import ImageEncoder
from commonspace.encoders.protocol import ImageLimits
from commonspace.encoders.spec import EncoderSpec

_NETWORK = "network.xml"


def cached_encoder(spec: EncoderSpec, limits: ImageLimits) -> ImageEncoder | None:
    """The encoder of `spec` from this machine's cache; None where it must be converted first.

    Decoding an image may cost `limits`.
    """

    def load(folder: Path) -> ImageEncoder:
        read_record(folder)
        decoder = PillowDecoder(spec.preprocessing, crop_image, limits)
        return ImageEncoder(spec, _engine(folder), "cpu", decoder=decoder)

    return load_cached(spec, load)


def converted_engine(
    network: openvino.Model, spec: EncoderSpec, check: Callable[[OpenVinoEngine], None]
) -> OpenVinoEngine:
    """The engine that runs a network that was just converted, which is kept if it passes `check`.

    It is written and then loaded as later processes will load it: compiled from memory, the same
    network would have other last bits.

    Raises:
        EncoderError: it cannot be written anywhere; or as `check`.
    """

    def write(folder: Path) -> None:
        save_network(network, folder / _NETWORK)
        write_record(folder, {})

    with new_model_folder(spec, write) as folder:
        engine = _engine(folder)
        check(engine)
        return engine


def _engine(folder: Path) -> OpenVinoEngine:
    return OpenVinoEngine(folder / _NETWORK, choose_threads())
