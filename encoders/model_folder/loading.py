"""What the libraries say, or do not say, when they load a model folder that is not whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from commonspace.encoders.errors import WeightsRefused


@contextmanager
def translating_loading_errors(folder: Path) -> Iterator[None]:
    """Within the block, an error of the libraries is a WeightsRefused that says what to check."""
    try:
        yield
    except WeightsRefused:
        raise
    # What the libraries raise for a folder that does not fit together is not a closed list.
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ImportError,
            RuntimeError, SafetensorError) as error:  # fmt: skip
        raise WeightsRefused(
            f"the model cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}",
            item=str(folder),
            do="Check that the folder is complete and that its files belong together.",
        ) from error


def require_every_weight(missing: Sequence[str], misshapen: Sequence[str], folder: Path) -> None:
    """Refuse weights that transformers would silently fill with random values.

    Raises:
        WeightsRefused: a weight is missing, or has another shape than the network's.
    """
    if missing or misshapen:
        examples = ", ".join([*missing, *misshapen][:3])
        raise WeightsRefused(
            f"{len(missing)} weights are missing and {len(misshapen)} have the wrong shape, "
            f"such as {examples}",
            item=str(folder),
            do="Copy or download the weights again: without them, they would be random.",
        )
