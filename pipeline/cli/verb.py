"""How every verb reads its options: none of two values is dropped without a word."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperOption

from commonspace.pipeline.errors import UserMistake


class Verb(TyperCommand):
    """A command that refuses a repeated option, unless it is declared as a list.

    Click's parser keeps the last value, as if the others had not been given. A flag that can only
    be set loses nothing by being set twice.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As a command of typer does.

        Raises:
            UserMistake: an option that takes one value is given more than once.
        """
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        times = Counter(option for option in given if _takes_one_value(option))
        for option, count in times.items():
            if count > 1:
                name = "/".join([*option.opts, *option.secondary_opts])
                raise UserMistake(
                    f"{name} is given {count} times and takes one value",
                    do="Give it once, or call the command once for each value.",
                )
        return super().parse_args(ctx, args)


def _takes_one_value(option: object) -> bool:
    if not isinstance(option, TyperOption) or option.multiple:
        return False
    return not option.is_flag or bool(option.secondary_opts)
