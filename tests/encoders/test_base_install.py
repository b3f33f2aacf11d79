"""Where the libraries that encode are not installed, as a consumer has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
for name in ("PIL", "torch", "torchvision", "timm", "openvino", "safetensors", "tokenizers",
             "transformers", "sentence_transformers", "semantic_text_splitter", "huggingface_hub"):
    sys.modules[name] = None
from commonspace.encoders import catalog
from commonspace.encoders.errors import EncoderError
from commonspace.encoders.reference import EncoderReference
folder = sys.argv[1]
if catalog.describe(EncoderReference(folder, "text")).dim != 384:
    sys.exit("the folder of a text model is described without them")
revision = "0" * 40
for name, modality, options in (
    (folder, "text", {}),
    ("torchvision/resnet18", "image", {"weights": "untrained"}),
    ("owner/model", "text", {"revision": revision}),
):
    try:
        catalog.load(EncoderReference(name, modality, **options))
    except EncoderError as error:
        print(error)
    else:
        sys.exit(name)
"""


def test_every_encoder_says_how_to_install_them(minilm_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(minilm_folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('pip install "commonspace[encoders]"') == 3
