"""Commands killed at random moments, and what becomes of them.

python -m tests.kills [COMMAND]... --kills 100 --seed 1

Each is killed up to three times, by SIGKILL, SIGTERM or SIGINT, after a random time or before a
random write, and then run to its end: it must leave what an undisturbed one leaves, to the bit, and
no file may ever be half there.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.kills.commands import COMMANDS
from tests.kills.trial import Server, Trials

MOST = 3  # kills of one command before it is let go on
HOW = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """1 when anything went wrong, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("--kills", type=int, default=10, help="Of each command.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    wrong = 0
    with Server() as server:
        for name in arguments.names or COMMANDS:
            with tempfile.TemporaryDirectory(prefix="kdbench-kills-") as base:
                trials = Trials(name, Path(base), server)
                wrong += tried(trials, arguments.kills, arguments.seed)
    return int(wrong > 0)


def tried(trials: Trials, kills: int, seed: int) -> int:
    """Kills a command so often, and returns in how many trials something went wrong."""
    rng = np.random.default_rng([seed, *trials.name.encode()])
    wrong = count = 0
    while trials.kills < kills:
        how = HOW[rng.integers(len(HOW))]
        moments = [moment(trials, rng) for _ in range(rng.integers(1, MOST + 1))]
        faults = trials.killed(*moments, how=how)
        count, wrong = count + 1, wrong + bool(faults)
        for fault in faults:
            print(f"{trials.name}, {how.name} at {moments}: {fault}", flush=True)
        for folder in trials.base.iterdir():
            shutil.rmtree(folder)
    print(
        f"{trials.name}, seed {seed}: {trials.kills} kills in {count} commands of "
        f"{trials.seconds:.1f} s and {len(trials.writes)} writes, {wrong} wrong; "
        f"{trials.left} temporary files left",
        flush=True,
    )
    return wrong


def moment(trials: Trials, rng) -> dict:
    """A random moment of a command: a time, or a write."""
    if rng.random() < 0.5:
        return {"seconds": float(rng.uniform(0, trials.seconds))}
    return {"write": int(rng.integers(len(trials.writes)))}


if __name__ == "__main__":
    sys.exit(main())
