"""What a fresh process says of an encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from commonspace.encoders.reference import EncoderReference

SCRIPT = """
import json, sys
from commonspace.encoders.catalog import describe
from commonspace.encoders.reference import EncoderReference
reference, without = map(json.loads, sys.argv[1:])
print(describe(EncoderReference.from_json(reference)).fingerprint)
assert not set(without) & set(sys.modules)
"""


def fingerprint_elsewhere(reference: EncoderReference, without: Sequence[str]) -> str:
    """The fingerprint that another process describes, which must not import these modules."""
    arguments = [json.dumps(reference.to_json()), json.dumps(list(without))]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
