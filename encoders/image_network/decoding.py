"""What decodes and resizes a network's images, as values of its spec."""

from __future__ import annotations

from typing import Any

from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.image.image_file import IMAGE_RULES_VERSION
from commonspace.encoders.reference import EncoderReference


def decoding_of(reference: EncoderReference) -> dict[str, Any]:
    """What decodes and resizes images; with `nvjpeg`, most formats are still left to Pillow.

    Pillow's version is not part of it: `rules` covers what its releases may change, and a security
    fix must not make new vectors incomparable with old ones.

    Raises:
        EncoderNotFound: there is no such decoder.
    """
    resizers = {"pillow": "torch-uint8", "nvjpeg": "torch-float32"}
    decoder = reference.decoder or "pillow"
    if decoder not in resizers:
        raise EncoderNotFound(
            f"there is no decoder {decoder!r}",
            item=reference.name,
            do="Set it to pillow or nvjpeg.",
        )
    return {"decoder": decoder, "rules": IMAGE_RULES_VERSION, "resizer": resizers[decoder]}
