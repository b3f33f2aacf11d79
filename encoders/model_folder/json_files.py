"""Reading the JSON files of a model folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused

_COPY_AGAIN = "Copy or download the file again."


def read_json(path: Path) -> Any:
    """The parsed file.

    Raises:
        EncoderNotFound: there is no such file.
        WeightsRefused: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise EncoderNotFound(
            f"the model folder lacks {path.name}",
            item=str(path.parent),
            do="Name a folder that sentence-transformers saved, with all of its files.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise WeightsRefused("the file is not JSON", item=str(path), do=_COPY_AGAIN) from error


def read_json_object(path: Path) -> Mapping[str, Any]:
    """The parsed file, which must hold an object.

    Raises:
        EncoderNotFound: there is no such file.
        WeightsRefused: the file is not JSON, or holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise WeightsRefused("the file is not a JSON object", item=str(path), do=_COPY_AGAIN)
    return value
