"""commonspace, for those who read: `open` a published space, search it, take its rows.

Needs neither torch nor Airflow (torch only to search by text or image). The names load what they
need when they are first used, because DAG files import `commonspace.pipeline.config` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commonspace.encoders.errors import CommonspaceError
    from commonspace.encoders.spec import EncoderSpec, differences
    from commonspace.pipeline.read.space import Space
    from commonspace.pipeline.read.space import open_space as open  # noqa: A004

__all__ = ["CommonspaceError", "EncoderSpec", "Space", "differences", "open"]

_HOME = {
    "CommonspaceError": ("encoders.errors", "CommonspaceError"),
    "EncoderSpec": ("encoders.spec", "EncoderSpec"),
    "Space": ("pipeline.read.space", "Space"),
    "differences": ("encoders.spec", "differences"),
    "open": ("pipeline.read.space", "open_space"),
}
"""Of each public name: the module that defines it, and its name there."""


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    value: object = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
