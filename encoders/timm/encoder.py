"""Loads a network of timm as an encoder."""

from __future__ import annotations

from functools import partial

from commonspace.encoders.errors import WeightsRefused
from commonspace.encoders.image.encoder import ImageEncoder
from commonspace.encoders.image_network.embedding_network import ImageEmbeddingNetwork
from commonspace.encoders.image_network.encoder import network_encoder
from commonspace.encoders.protocol import IMAGE_LIMITS, ImageLimits
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.timm.network import load_network
from commonspace.encoders.timm.network_facts import forget_facts, network_facts
from commonspace.encoders.timm.spec import describe_timm
from commonspace.encoders.timm.weights import find_weights


def load_embedding_network(spec: EncoderSpec, reference: EncoderReference) -> ImageEmbeddingNetwork:
    """The network that `spec` describes, from crops to vectors, on the CPU in fp32.

    Raises:
        WeightsRefused: as `load_network`; or timm says something else of the network than the
            spec was made of, which trying again mends.
        EncoderNotFound: as `find_weights`.
    """
    weights = find_weights(reference)
    network, facts = load_network(spec.architecture, weights.path, weights.timm_name)
    if facts != network_facts(spec.architecture):
        forget_facts(spec.architecture)
        raise WeightsRefused(
            "timm says something else of the network than it said before", item=spec.label,
            retry=True, do="Try again.",
        )  # fmt: skip
    return ImageEmbeddingNetwork(network, spec.preprocessing).eval().requires_grad_(False)


def load_timm_encoder(
    spec: EncoderSpec,
    reference: EncoderReference,
    device: str,
    limits: ImageLimits = IMAGE_LIMITS,
) -> ImageEncoder:
    """Load the network for `device`; decoding an image may cost `limits`.

    Raises:
        WeightsRefused, EncoderNotFound: as `load_embedding_network`.
        WeightsRefused, EncoderError: as `network_encoder`.
    """
    load = partial(load_embedding_network, spec, reference)
    return network_encoder(spec, load, partial(describe_timm, reference), device, limits)
