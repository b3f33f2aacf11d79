"""A torchvision network, loaded: which engine runs it, and that it is the network described."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from commonspace.encoders.engines.compiled_engine import CompiledEngine, choose_compile
from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.selection import choose_engine
from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.errors import EncoderError, WeightsRefused
from commonspace.encoders.image.batches import ImageBatches
from commonspace.encoders.image.decoder import Decoder
from commonspace.encoders.image.encoder import CUDA_ROWS, ImageEncoder
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.torchvision.embedding_network import ImageEmbeddingNetwork
from commonspace.encoders.torchvision.network import load_network
from commonspace.encoders.vectors import norm_failures


def load_embedding_network(spec: EncoderSpec, weights: Path | None) -> ImageEmbeddingNetwork:
    """The network that `spec` describes, from crops to vectors, on the CPU in fp32.

    Raises:
        WeightsRefused: as `load_network`, or vectors of another dim, or none at all.
        EncoderNotFound: as `load_network`.
    """
    crop = spec.preprocessing["crop"]
    network = load_network(spec.architecture, spec.layer, spec.pooling, crop, weights)
    return ImageEmbeddingNetwork(network, spec.preprocessing).eval().requires_grad_(False)


def load_torchvision_encoder(spec: EncoderSpec, weights: Path | None, device: str) -> ImageEncoder:
    """Load the network for `device`; a CPU computes in fp32 whatever `spec.precision` is.

    Raises:
        WeightsRefused, EncoderNotFound: as `load_embedding_network`.
        EncoderError: OpenVINO is to run the network and cannot, nvJPEG is to decode and cannot, or
            the compiled network gives other vectors.
    """
    decoder = _decoder(spec, device)
    graph = load_embedding_network(spec, weights)
    probe = _probe(spec)
    if device != "cpu":
        graph = graph.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    exact = TorchEngine(graph, device)
    _require_vector(exact, probe, spec)
    if choose_engine(device) == "openvino":
        from commonspace.encoders.engines.openvino_conversion import convert_to_engine

        engine = convert_to_engine(graph, (np.concatenate([probe, probe]),), exact, spec.label)
        return ImageEncoder(spec, engine, device)
    in_full = device == "cpu" or spec.precision == "fp32"
    again = None if in_full else exact
    if choose_compile(device):
        compiled = CompiledEngine(graph, device, spec, exact)
        list(ImageBatches(compiled, CUDA_ROWS, fill=True).run(probe))  # now, not under a query
        return ImageEncoder(spec, compiled, device, exact=again, decoder=decoder, fill=True)
    engine = exact if in_full else TorchEngine(graph, device, spec.precision)
    return ImageEncoder(spec, engine, device, exact=again, decoder=decoder)


def _decoder(spec: EncoderSpec, device: str) -> Decoder | None:
    """What decodes in Pillow's place, if anything."""
    if spec.preprocessing["decoder"] != "nvjpeg":
        return None
    if device == "cpu":
        raise EncoderError(
            "its images are decoded by nvJPEG, which needs a CUDA device",
            item=spec.label,
            do="Run where there is one, with COMMONSPACE_DEVICE unset. Pillow makes other vectors: "
            'leave `decoder = "nvjpeg"` out in a new version of the space.',
        )
    from commonspace.encoders.nvjpeg.decoder import NvjpegDecoder

    return NvjpegDecoder(spec.preprocessing, device)


def _probe(spec: EncoderSpec) -> np.ndarray:
    """One crop of noise, (1, crop, crop, 3) uint8."""
    side = spec.preprocessing["crop"]
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)


def _require_vector(engine: Engine, probe: np.ndarray, spec: EncoderSpec) -> None:
    ((_, vector),) = ImageBatches(engine, 1).run(probe)
    if vector.shape != (1, spec.dim):
        raise WeightsRefused(
            f"makes {vector.shape[1]} dimensions, where {spec.dim} are described",
            item=spec.label,
        )
    for failure in norm_failures(vector).values():
        raise WeightsRefused(
            f"makes no usable vectors: {failure.message}",
            item=spec.label,
            do="Copy or download the weights anew.",
        )
