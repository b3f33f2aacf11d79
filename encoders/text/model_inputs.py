"""Windows of tokens as the arrays that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from commonspace.encoders.text.tokenizer import Window

from commonspace.encoders.engines.engine import Arrays
from commonspace.encoders.text.batches import Batch


@dataclass(frozen=True)
class TextInputs:
    """How a model wants its tokens padded, and whether it takes their types."""

    pad: int
    pad_left: bool
    types: bool

    def arrays(self, batch: Batch, windows: Sequence[Window]) -> Arrays:
        """`ids`, `mask` and, where taken, `types`: each (batch.rows, batch.width) int64."""
        shape = (batch.rows, batch.width)
        ids = np.full(shape, self.pad, dtype=np.int64)
        mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        mask[len(windows) :] = 1  # a filler row with nothing to attend to would be NaN
        for row, window in enumerate(windows):
            length = len(window.ids)
            place = slice(batch.width - length, None) if self.pad_left else slice(length)
            ids[row, place], types[row, place], mask[row, place] = window.ids, window.types, 1
        return (ids, mask, types) if self.types else (ids, mask)
