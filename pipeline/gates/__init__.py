"""Gates: what a release must be before a reader can see it, one check a file.

Pure decisions over counts and vectors. `validate.py` reads what they look at; what needs a
loaded encoder is measured beside encoding, in `spot_check.py` and `golden_queries.py`.
"""

from __future__ import annotations

from pipeline.gates.account import account_gates
from pipeline.gates.contents import Contents, Watcher
from pipeline.gates.drift import Drift
from pipeline.gates.duplicates import DuplicateVectors
from pipeline.gates.golden import Expectation, GoldenRecall
from pipeline.gates.spot import spot_gate
from pipeline.gates.vectors import UnusableVectors

__all__ = [
    "Contents",
    "Drift",
    "DuplicateVectors",
    "Expectation",
    "GoldenRecall",
    "UnusableVectors",
    "Watcher",
    "account_gates",
    "spot_gate",
]
