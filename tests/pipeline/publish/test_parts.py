"""How rows are cut into parts."""

from __future__ import annotations

import pytest

from commonspace.pipeline.publish.parts import PART_ROWS, bucket_bits


@pytest.mark.parametrize(
    ("rows", "bits"),
    [(0, 0), (1, 0), (PART_ROWS, 0), (PART_ROWS + 1, 1), (2 * PART_ROWS, 1),
     (2 * PART_ROWS + 1, 2), (4 * PART_ROWS + 1, 3)],
)  # fmt: skip
def test_a_bucket_holds_at_most_the_rows_of_a_part(rows: int, bits: int) -> None:
    assert bucket_bits(rows) == bits
    assert bucket_bits(rows, before=2) == max(bits, 2), "buckets are split, never joined"
