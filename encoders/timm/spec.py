"""The spec of a timm network: its weights, its features, and how images are prepared.

This needs neither torch nor timm where timm has been asked about the network before.
"""

from __future__ import annotations

from commonspace.encoders.image_network.decoding import decoding_of
from commonspace.encoders.image_network.local_weights import untrained_label
from commonspace.encoders.model_folder.digests import sha256_of
from commonspace.encoders.reference import EncoderReference, precision_of
from commonspace.encoders.spec import TOLERANCE, EncoderSpec
from commonspace.encoders.timm.image_settings import KEYS, image_settings
from commonspace.encoders.timm.network_facts import network_facts
from commonspace.encoders.timm.weights import find_weights

PENULTIMATE = "penultimate"
"""The pooled input of a network's classifier."""


def describe_timm(reference: EncoderReference) -> EncoderSpec:
    """The spec of `timm/<network>` with the options of `reference`.

    Images are prepared by timm's own data configuration of the network, or by that which the hub
    has beside the weights.

    Raises:
        EncoderNotFound: there is no such network, precision, decoder or weights; they cannot be
            downloaded; or its images are prepared in a way that is not supported.
        WeightsRefused: the file is cut off, or not the one that is known.
        EncoderError: timm is needed and not installed.
    """
    network = reference.name.partition("/")[2]
    precision, decoding = precision_of(reference), decoding_of(reference)
    weights = find_weights(reference)
    facts = network_facts(network)
    own = {key: value for key, value in weights.pretrained_cfg.items() if key in KEYS and value}
    digest = weights.path and f"sha256:{sha256_of(weights.path)}"
    return EncoderSpec(
        kind="timm",
        modality="image",
        architecture=network,
        weights=digest or untrained_label(("timm", "torch")),
        trained=digest is not None,
        preprocessing={**decoding, **image_settings({**facts.data_config, **own}, reference.name)},
        layer=PENULTIMATE,
        dim=facts.dim,
        precision=precision,
        tolerance=TOLERANCE[precision],
    )
