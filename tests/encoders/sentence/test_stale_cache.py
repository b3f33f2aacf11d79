"""A converted model is used by the code that converted it alone, whichever file has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import commonspace

KEEP = """
from commonspace.encoders.hashed import hashed_spec
from commonspace.encoders.converted.cache import new_model_folder
spec = hashed_spec(64, "text")
with new_model_folder(spec, lambda folder: (folder / "network.xml").write_text("x")):
    pass
"""
LOOK = """
from commonspace.encoders.hashed import hashed_spec
from commonspace.encoders.converted.cache import find_cached
print(find_cached(hashed_spec(64, "text")) is not None)
"""


@pytest.mark.parametrize(
    "changed", ["spec.py", "sentence/embedding_network.py", "engines/bounded_map.py"]
)
def test_a_change_of_any_file_of_the_encoders_makes_kept_models_stale(
    tmp_path: Path, changed: str
) -> None:
    package = tmp_path / "commonspace"
    shutil.copytree(Path(commonspace.__file__).parent, package)
    environment = os.environ | {"COMMONSPACE_CACHE": str(tmp_path / "cache")}

    def python(code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    python(KEEP)
    assert python(LOOK) == "True"
    with (package / "encoders" / changed).open("a", encoding="utf-8") as file:
        file.write("\n# another way to compute\n")
    assert python(LOOK) == "False"
