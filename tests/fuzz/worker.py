"""One worker: reads numbers of inputs from standard input, answers each with a line of JSON.

python -m tests.fuzz.worker KIND SEED FOLDER
"""

import json
import os
import resource
import sys
from pathlib import Path

from tests.fuzz import kinds
from tests.fuzz.attempt import attempt, warm, watch_writes

MEMORY = 4 * 10**9  # of addresses, above those of a warm process


def main() -> None:
    """Runs until standard input ends."""
    seed, folder = int(sys.argv[2]), Path(sys.argv[3]).resolve()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints there is no answer
    os.environ.update(HOME=str(folder), OMP_NUM_THREADS="1", KDBENCH_HOME=str(folder / "base/home"))
    base = folder / "base"
    base.mkdir()
    subject = kinds.make(sys.argv[1])
    subject.make(base)
    warm(subject, base, folder / "input")
    watch_writes()
    limit = _addresses() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        found = attempt(subject, base, folder / "input", seed, int(line))
        print(json.dumps(found), file=answers, flush=True)


def _addresses() -> int:
    """Bytes of the process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
