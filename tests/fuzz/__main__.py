"""Damaged files, fed to the commands that read them.

python -m tests.fuzz KIND --inputs 1000 [--from 0]     KDBENCH_FUZZ_SEED=1 draws others

Every input is a good file of a kind, changed at random. The command that reads it must end with an
exit code of 0 to 5, one line about what is wrong and no traceback, in two seconds of processor and
a gigabyte, and write nowhere else; and what it takes it must read as a few lines of plain Python
do. What an input did wrong is printed with its number, which draws it again.
"""

import argparse
import os
import sys
from collections import Counter

from tests.fuzz.driver import verdicts
from tests.fuzz.kinds import KINDS


def main() -> int:
    """The number of inputs that went wrong, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--from", dest="first", type=int, default=0)
    arguments = parser.parse_args()
    seed = int(os.environ.get("KDBENCH_FUZZ_SEED", 0))
    codes: Counter = Counter()
    wrong = 0
    numbers = range(arguments.first, arguments.first + arguments.inputs)
    for verdict in verdicts(arguments.kind, seed, numbers):
        codes[verdict["code"]] += 1
        wrong += bool(verdict["faults"])
        for fault in verdict["faults"]:
            print(f"{arguments.kind} {verdict['number']}: {fault}", flush=True)
    counts = ", ".join(f"{count} ended with {code}" for code, count in sorted(codes.items()))
    print(f"{arguments.kind}, seed {seed}: {len(numbers)} inputs, {wrong} wrong; {counts}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
