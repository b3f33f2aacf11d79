"""Do decoding and computing overlap? Each alone, then both as the encoder runs them.

On a CPU they share the cores: where both keep every core busy, no overlap can bring the whole
below the sum. `busy` says so: the CPU seconds of the whole over its wall seconds and cores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from commonspace.encoders.catalog import load
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.image.encoder import ImageEncoder
from commonspace.encoders.protocol import Failure
from commonspace.encoders.reference import EncoderReference


def overlap(
    model: str, weights: str | None, photos: Sequence[bytes], rounds: int
) -> dict[str, Any]:
    """Milliseconds a photo: decode, forward, whole (the best of the rounds), and their ratio."""
    encoder = load(EncoderReference(model, "image", weights=weights))
    if not isinstance(encoder, ImageEncoder):
        raise TypeError(f"{model} is no image encoder")
    encoder.encode(photos[:8])
    decode, forward, whole, busy = [], [], [], []
    for _ in range(rounds):
        began = time.perf_counter()
        prepared = list(encoder._decoder.decode(photos, len(photos)))
        decode.append(time.perf_counter() - began)
        crops = [image[0] for image in prepared if not isinstance(image, Failure)]
        began = time.perf_counter()
        for _ in encoder.batches.run(iter(crops)):
            pass
        forward.append(time.perf_counter() - began)
        began, spent = time.perf_counter(), time.process_time()
        encoder.encode(photos)
        whole.append(time.perf_counter() - began)
        busy.append((time.process_time() - spent) / whole[-1] / choose_threads())
    milliseconds = {
        name: min(values) / len(photos) * 1e3
        for name, values in (("decode", decode), ("forward", forward), ("whole", whole))
    }
    slower = max(milliseconds["decode"], milliseconds["forward"])
    return {**milliseconds, "whole_over_slower": milliseconds["whole"] / slower, "busy": max(busy)}
