"""Reading the JSON files of a model folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused


def read_json(path: Path) -> Any:
    """The parsed file.

    Raises:
        EncoderNotFound: there is no such file.
        WeightsRefused: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise EncoderNotFound(
            f"the model folder lacks {path.name}",
            item=str(path.parent),
            do="Name a folder that sentence-transformers saved, and copy it whole.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise WeightsRefused("not JSON", item=str(path)) from error


def read_json_object(path: Path) -> Mapping[str, Any]:
    """`read_json` of a file that must hold an object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise WeightsRefused("not a JSON object", item=str(path))
    return value
