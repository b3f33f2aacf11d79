"""Puts an encoder around a network: what decodes, which engine computes, and whether it agrees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from commonspace.encoders.engines.compiled_engine import CompiledEngine, choose_compile
from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.selection import choose_engine
from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.errors import FILES_CHANGED, EncoderError, WeightsRefused
from commonspace.encoders.image.batches import ImageBatches
from commonspace.encoders.image.crops import crop_image
from commonspace.encoders.image.decoder import Decoder, PillowDecoder
from commonspace.encoders.image.encoder import CUDA_ROWS, ImageEncoder
from commonspace.encoders.image_network.embedding_network import ImageEmbeddingNetwork
from commonspace.encoders.protocol import ImageLimits
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import norm_failures


def network_encoder(
    spec: EncoderSpec,
    load_network: Callable[[], ImageEmbeddingNetwork],
    describe: Callable[[], EncoderSpec],
    device: str,
    limits: ImageLimits,
) -> ImageEncoder:
    """The encoder for `device`; a CPU computes in fp32 whatever `spec.precision` is.

    Args:
        spec: what it computes.
        load_network: from crops to vectors, on the CPU in fp32; called once.
        describe: the spec by the files as they are by now.
        device: where it computes.
        limits: what decoding an image may cost.

    Raises:
        WeightsRefused: the network's vectors are not usable, or its files changed while they were
            loaded; or as `load_network`.
        EncoderError: OpenVINO is to run the network and cannot, nvJPEG is to decode and cannot, or
            the compiled network computes other vectors.
    """
    decoder = _decoder(spec, device, limits)
    network = load_network()
    probe = _probe(spec)
    if device != "cpu":
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    exact = TorchEngine(network, device)
    _require_vector(exact, probe, spec)
    if choose_engine(device) == "openvino":
        engine = _openvino_engine(network, exact, probe, spec, describe)
        return ImageEncoder(spec, engine, device, decoder=decoder)
    in_full = device == "cpu" or spec.precision == "fp32"
    again = None if in_full else exact
    if choose_compile(device):
        compiled = CompiledEngine(network, device, spec, exact)
        # Compiled now, so that no query has to wait for it.
        list(ImageBatches(compiled, CUDA_ROWS, fill=True).run(probe))
        return ImageEncoder(spec, compiled, device, exact=again, decoder=decoder, fill=True)
    engine = exact if in_full else TorchEngine(network, device, spec.precision)
    return ImageEncoder(spec, engine, device, exact=again, decoder=decoder)


def _openvino_engine(
    network: ImageEmbeddingNetwork,
    exact: Engine,
    probe: np.ndarray,
    spec: EncoderSpec,
    describe: Callable[[], EncoderSpec],
) -> Engine:
    from commonspace.encoders.engines.openvino_conversion import (
        convert_to_openvino,
        require_openvino_agrees,
    )
    from commonspace.encoders.image_network.converted_network import converted_engine

    probes = (np.concatenate([probe, probe]),)

    def check(engine: Engine) -> None:
        require_openvino_agrees(engine, exact, probes, spec.label)
        # Before it is kept: later processes would take it for the network that `spec` names.
        if describe() != spec:
            raise WeightsRefused(FILES_CHANGED, item=spec.label, retry=True)

    return converted_engine(convert_to_openvino(network, probes, spec.label), spec, check)


def _decoder(spec: EncoderSpec, device: str, limits: ImageLimits) -> Decoder:
    """What decodes the images."""
    if spec.preprocessing["decoder"] != "nvjpeg":
        return PillowDecoder(spec.preprocessing, crop_image, limits)
    if device == "cpu":
        raise EncoderError(
            "its images are decoded by nvJPEG, which needs a CUDA device",
            item=spec.label,
            do="Run on a machine that has one, with COMMONSPACE_DEVICE unset, or add a new version "
            'of the space without `decoder = "nvjpeg"`: the vectors of images that Pillow decodes '
            "are different.",
        )
    from commonspace.encoders.nvjpeg.decoder import NvjpegDecoder

    return NvjpegDecoder(spec.preprocessing, device, limits)


def _probe(spec: EncoderSpec) -> np.ndarray:
    """One crop of noise, (1, crop, crop, 3) uint8."""
    side = spec.preprocessing["crop"]
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)


def _require_vector(engine: Engine, probe: np.ndarray, spec: EncoderSpec) -> None:
    ((_, vector),) = ImageBatches(engine, 1).run(probe)
    if vector.shape != (1, spec.dim):
        raise WeightsRefused(
            f"makes {vector.shape[1]} dimensions, but its description says {spec.dim}",
            item=spec.label,
        )
    for failure in norm_failures(vector).values():
        raise WeightsRefused(
            f"makes no usable vectors: {failure.message}",
            item=spec.label,
            do="Copy or download the weights again.",
        )
