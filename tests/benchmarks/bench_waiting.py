"""What a step costs by the way its threads wait, on an idle machine and beside other programs.

    pytest tests/benchmarks/bench_waiting.py -o python_files='bench_*.py' -m '' -s

Ways take turns, each step in a process of its own way; medians.
"""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from kdbench.measure import waiting

SPINS = (None, "1000", "3000", "10000")  # GOMP_SPINCOUNT; None: libgomp's own
ROUNDS, STEPS = 3, 8
CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import bench_steps as b
name, steps = sys.argv[2], int(sys.argv[3])
dataset = b.build_dataset(b.build_spec(overrides={"dataset.train_frames": 100}))
side = b.side(name, dataset, steps + 2)
for batch in side.training.batches(0):
    side.step(batch)
print(sorted(side.seconds[2:])[steps // 2])
"""


def step_seconds(name: str, spins: str | None) -> float:
    """The median step of a process that waits in a way."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment |= {"GOMP_SPINCOUNT": spins} if spins else {}
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), name, str(STEPS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@contextmanager
def beside(what: str):
    """Another program on the machine meanwhile: nothing, a busy loop, or another training."""
    line = {"busy loop": "while True: pass", "training": TRAINING.replace("NAME", "none")}
    if what == "nothing":
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", line[what]])
    try:
        yield
    finally:
        process.kill()
        process.wait()


TRAINING = (
    CHILD.replace("int(sys.argv[3])", "10**6")
    .replace("sys.argv[2]", "'NAME'")
    .replace("sys.argv[1]", repr(str(Path(__file__).parent)))
)


@pytest.mark.parametrize("other", ["nothing", "busy loop", "training"])
@pytest.mark.parametrize("name", ["none", "none x1"])
def test_a_step(name, other):
    found = {spins: [] for spins in SPINS}
    with beside(other):
        for _ in range(ROUNDS):
            for spins, own in found.items():
                own.append(step_seconds(name, spins))
    assert str(waiting.SPINS) in found, "kdbench's own way is not among those measured"
    text = ", ".join(f"{spins or 'default'} {median(own):.3f}" for spins, own in found.items())
    print(f"\n{name} beside {other}: {text} s")
