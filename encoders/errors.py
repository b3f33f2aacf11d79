"""The one error family of commonspace."""

from __future__ import annotations

from typing import Any

INSTALL_HINT = (
    'Install the libraries that encode: pip install "commonspace[encoders]" beside the installed '
    'commonspace, or pip install ".[encoders]" in a checkout.'
)
FILES_CHANGED = "the model's files changed while it was loaded"


class CommonspaceError(Exception):
    """An error that a person can act on: it is printed without a traceback.

    Attributes:
        what: what happened.
        item: what it happened to.
        retry: whether trying again can help; where it is not given, `usual_retry`.
        do: what to do next; where it is not given, `usual_do`.
        exit_code: what the command line exits with.
    """

    exit_code = 1
    usual_retry, usual_do = False, ""

    def __init__(
        self,
        what: str,
        *,
        item: str | None = None,
        retry: bool | None = None,
        do: str | None = None,
    ) -> None:
        self.what, self.item = what, item
        self.retry = self.usual_retry if retry is None else retry
        self.do = self.usual_do if do is None else do
        super().__init__(str(self))

    def __str__(self) -> str:
        subject = f"{self.item}: " if self.item else ""
        advice = f"\n  {self.do}" if self.do else ""
        return f"{subject}{self.what}{advice}"

    def to_json(self) -> dict[str, Any]:
        """The error as `--json` prints it."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "item": self.item,
            "retry": self.retry,
            "do": self.do,
        }


class EncoderError(CommonspaceError):
    """An encoder that cannot be described, loaded or trusted."""


class EncoderNotFound(EncoderError):
    """The user named an encoder, a revision, an option or a weights file that does not exist."""

    exit_code = 2


class WeightsRefused(EncoderError):
    """Weights that are cut off, incomplete, of another architecture, or unsafe to open."""

    exit_code = 2


class DeviceOutOfMemory(Exception):
    """A device has no memory for a batch of this size; internal, as a smaller batch may fit."""


def device_memory_error(
    what: str, *, or_else: str = "or set COMMONSPACE_DEVICE to cpu"
) -> EncoderError:
    """The error for a user when a device is full and no smaller batch can be tried."""
    return EncoderError(
        f"no device memory for {what}",
        retry=True,
        do=f"Wait until other processes have freed the device, {or_else}.",
    )
