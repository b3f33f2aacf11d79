"""Loads a torchvision network as an encoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from commonspace.encoders.image.encoder import ImageEncoder
from commonspace.encoders.image_network.embedding_network import ImageEmbeddingNetwork
from commonspace.encoders.image_network.encoder import network_encoder
from commonspace.encoders.protocol import IMAGE_LIMITS, ImageLimits
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.torchvision.network import load_network
from commonspace.encoders.torchvision.spec import describe_network
from commonspace.encoders.torchvision.weights import weights_file


def load_embedding_network(spec: EncoderSpec, weights: Path | None) -> ImageEmbeddingNetwork:
    """The network that `spec` describes, from crops to vectors, on the CPU in fp32.

    Raises:
        WeightsRefused, EncoderNotFound: as `load_network`.
    """
    crop = spec.preprocessing["crop"]
    network = load_network(spec.architecture, spec.layer, spec.pooling, crop, weights)
    return ImageEmbeddingNetwork(network, spec.preprocessing).eval().requires_grad_(False)


def load_torchvision_encoder(
    spec: EncoderSpec,
    reference: EncoderReference,
    device: str,
    limits: ImageLimits = IMAGE_LIMITS,
) -> ImageEncoder:
    """Load the network for `device`; decoding an image may cost `limits`.

    Raises:
        WeightsRefused, EncoderNotFound: as `load_network` and `weights_file`.
        WeightsRefused, EncoderError: as `network_encoder`.
    """
    load = partial(load_embedding_network, spec, weights_file(reference))
    return network_encoder(spec, load, partial(describe_network, reference), device, limits)
