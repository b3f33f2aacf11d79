"""Metadata that cannot be read: the row is published with null there, if few have it."""

from __future__ import annotations

from collections.abc import Sequence

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.gates.gate import Gate


def bad_cells_gate(bad: int, items: int, limits: GatesSection, found: Sequence[str] = ()) -> Gate:
    """The gate over the share of items with a metadata value that cannot be read.

    Args:
        bad: such items.
        items: what they are a share of.
        limits: without `max_bad_cell_share`, as many may be bad as may be rejects.
        found: what was found where, in words.
    """
    key, limit = "max_bad_cell_share", limits.max_bad_cell_share
    if limit is None:
        key, limit = "max_reject_share", limits.max_reject_share
    share = bad / items if items else 0.0
    message = (
        f"{bad} of {items} items have metadata that cannot be read "
        f"({share:.1%}, {key} is {limit:.1%})"
    )
    return Gate("bad_cells", share <= limit, share, limit, "; ".join([message, *found]))
