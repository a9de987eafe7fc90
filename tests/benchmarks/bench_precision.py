"""A training step in bfloat16 beside one in float32, where the processor has bfloat16.

    pytest tests/benchmarks/bench_precision.py -o python_files='bench_*.py' -m '' -s

Both take turns in one process, batch by batch; medians of the pairs' quotients.
"""

from itertools import islice
from statistics import median
from time import perf_counter

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measure.device import check_precision
from kdbench.runs.settings import build_spec
from kdbench.training.data import build_dataset
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter

CPU = torch.device("cpu")
PRECISIONS = ("float32", "bfloat16")
WARMUP, STEPS = 3, 15


@pytest.fixture(scope="module")
def dataset():
    try:
        check_precision("bfloat16", "cpu")
    except UsageError as error:
        pytest.skip(str(error))
    return build_dataset(build_spec(overrides={"dataset.train_frames": 100}))


def side(ratio: float, precision: str, dataset):
    spec = build_spec(ratio=ratio, overrides={"train.precision": precision})
    training = Training(spec, dataset, *build_networks(spec, CPU), CPU, None, Reporter(quiet=True))
    return training, training.initial_state()


@pytest.mark.parametrize("ratio", [4.0, 1.0])
def test_a_step(dataset, ratio):
    sides = [side(ratio, precision, dataset) for precision in PRECISIONS]
    seconds = ([], [])
    for batch in islice(sides[0][0].batches(0), WARMUP + STEPS):
        for (training, state), spent in zip(sides, seconds, strict=True):
            started = perf_counter()
            training.step(state, batch)
            spent.append(perf_counter() - started)
    full, half = (each[WARMUP:] for each in seconds)
    assert len(half) == STEPS
    quotient = median(a / b for a, b in zip(full, half, strict=True))
    print(
        f"\nnone x{ratio:g}: {quotient:.2f} times, {median(half):.3f} s against {median(full):.3f}"
    )
