"""One contender in a process of its own: loads, warms up, then encodes when it is told to.

Reads a pickled (function, arguments, contents) from a file, then one JSON command a line:
`{"items": [first, last, step], "save": path or null}`; answers each with one JSON line.
"""

from __future__ import annotations

import json
import pickle
import resource
import sys
import time
from pathlib import Path

import numpy as np

WARM_UP = 32


def main() -> None:
    """Serve commands until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is not an answer
    function, arguments, contents = pickle.loads(Path(sys.argv[1]).read_bytes())
    run = function(*arguments)
    run(contents[:WARM_UP])
    _say(answers, {"ready": True, "peak_bytes": _peak()})
    for line in sys.stdin:
        command = json.loads(line)
        chosen = contents[slice(*command["items"])]
        began, spent = time.perf_counter(), time.process_time()
        vectors = run(chosen)
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        if command["save"]:
            np.save(command["save"], vectors)
        done = {"items": len(chosen), "seconds": seconds, "cpu_seconds": cpu}
        _say(answers, {**done, "peak_bytes": _peak()})


def _peak() -> int:
    """Bytes at most in memory; `ru_maxrss` would begin with the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _say(answers: object, value: dict[str, object]) -> None:
    print(json.dumps(value), file=answers, flush=True)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
