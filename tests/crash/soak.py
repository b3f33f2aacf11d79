"""Many small runs in one process, old releases removed now and then.

`python -m tests.crash.soak FOLDER RUNS` answers a line of JSON for every hundred runs: seconds of
a core (median of a run), for other suites may share the machine, resident bytes, files of the
warehouse.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from pathlib import Path

from commonspace.pipeline.maintenance.retain import retain
from tests.crash import subject

RELEASES = 5
RUNS_BETWEEN = 20


def main() -> None:
    folder, runs = Path(sys.argv[1]), int(sys.argv[2])
    took: list[float] = []
    for number in range(1, runs + 1):
        subject.write_source(folder, number % 3 + 1)
        with (folder / "one.jsonl").open("a") as file:  # so that no two runs are alike
            record = {"id": "tick", "text": f"run {number} was here", "tag": "old"}
            file.write(json.dumps(record) + "\n")
        began = time.process_time()
        report = subject.run(folder)
        took.append(time.process_time() - began)
        assert report.get("state") == "promoted", report
        if number % RUNS_BETWEEN == 0:
            retain(subject.store_of(folder), subject.SPACE, RELEASES)
        if number % 100 == 0:
            gc.collect()
            seconds = statistics.median(took)
            files = sum(path.is_file() for path in (folder / "warehouse").rglob("*"))
            line = {"runs": number, "seconds": seconds, "resident": _resident(), "files": files}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            took.clear()
    assert subject.verify(folder) == []


def _resident() -> int:
    """Bytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    main()
