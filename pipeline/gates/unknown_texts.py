"""Texts of which the model knows the lesser part: their vectors say little of them.

A text without any token that the model knows is a reject. One with few has a row, whose column
`tokens_unknown` says so.
"""

from __future__ import annotations

from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.gates.gate import Gate


class UnknownTexts:
    """The gate over the share of rows at least half of whose tokens are unknown."""

    def __init__(self, limit: float) -> None:
        self._limit, self._rows, self._unknown = limit, 0, 0

    def update(self, contents: Contents) -> None:
        self._rows += int(contents.rows.sum())
        self._unknown += int(contents.rows[contents.mostly_unknown].sum())

    def result(self) -> Gate:
        if not self._rows:
            return Gate("unknown_share", True, None, self._limit, "no vector is new")
        share = self._unknown / self._rows
        message = (
            f"the model does not know most tokens of {self._unknown} of {self._rows} rows "
            f"({share:.1%}, max_unknown_share is {self._limit:.1%})"
        )
        if share > self._limit:
            message += (
                ": `tokens_unknown` of a row counts them; choose a model for the scripts and "
                "languages of these texts, or leave them out"
            )
        return Gate("unknown_share", share <= self._limit, share, self._limit, message)
