"""The one error family of commonspace."""

from __future__ import annotations

from typing import Any

INSTALL_HINT = 'In a checkout of commonspace: pip install ".[encoders]".'
"""The project is on no package index: its name alone installs nothing."""


class CommonspaceError(Exception):
    """Something a person has to know about, said without a traceback.

    `what` happened, to which `item`, whether a `retry` can help, and what to `do` next.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, item: str | None = None, retry: bool = False, do: str = ""
    ) -> None:
        self.what, self.item, self.retry, self.do = what, item, retry, do
        super().__init__(str(self))

    def __str__(self) -> str:
        subject = f"{self.item}: " if self.item else ""
        advice = f"\n  {self.do}" if self.do else ""
        return f"{subject}{self.what}{advice}"

    def to_json(self) -> dict[str, Any]:
        return {
            "error": type(self).__name__,
            "what": self.what,
            "item": self.item,
            "retry": self.retry,
            "do": self.do,
        }


FILES_CHANGED = "the model's files changed while it was loaded"


class EncoderError(CommonspaceError):
    """An encoder that cannot be described, loaded or trusted."""


class EncoderNotFound(EncoderError):
    """The user named an encoder, a revision or a weights file that is not there."""

    exit_code = 2


class WeightsRefused(EncoderError):
    """Weights that are cut off, incomplete, of another architecture, or unsafe to open."""

    exit_code = 2


class DeviceOutOfMemory(Exception):
    """A device has no memory for a batch of this size; internal, a smaller batch may fit."""


def device_memory_error(
    what: str, *, or_else: str = "or set COMMONSPACE_DEVICE to cpu"
) -> EncoderError:
    """What becomes of DeviceFull where nothing smaller can be tried."""
    return EncoderError(
        f"no device memory for {what}",
        retry=True,
        do=f"Wait until other processes leave the device, {or_else}.",
    )
