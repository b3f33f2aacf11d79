"""What the hardware can do, and what a model asks of it: for the share of peak."""

from __future__ import annotations

import time
from collections.abc import Sequence

RESNET50_FLOP = 8.18e9
"""An image of 224 x 224: 4.09 G multiply-adds (He et al., Deep Residual Learning, and
torchvision's table of weights)."""
HIDDEN, INNER, LAYERS = 384, 1536, 6


def minilm_flop(tokens: Sequence[int]) -> float:
    """Of all-MiniLM-L6-v2 over texts of so many tokens, no padding counted.

    A layer has four products of hidden by hidden, two of hidden by inner, and attention's two
    of length by hidden; a multiply-add is two operations.
    """
    linear = 2 * LAYERS * (4 * HIDDEN**2 + 2 * HIDDEN * INNER)
    attention = 2 * LAYERS * 2 * HIDDEN
    return float(sum(linear * length + attention * length**2 for length in tokens))


def measured_peak(seconds: float = 3.0) -> float:
    """fp32 operations a second of the best of many matrix products, on all cores or the GPU."""
    import torch

    torch.set_float32_matmul_precision("highest")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 1536
    left, right = (torch.rand(size, size, device=device) for _ in range(2))
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(left, right)
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best
