"""A training step of each method beside a plain one, on the machine that is there.

KDBENCH_STEPS=kd,fitnet pytest tests/benchmarks/bench_steps.py -o python_files='bench_*.py' -m '' -s

Networks are untrained where no weights are here (a step costs the same), profile and frames are
`quick`'s. Methods and `none` take turns in one process, batch by batch; medians of the quotients.
"""

import os
from statistics import median

import pytest
import torch

from kdbench.errors import NotApplicable
from kdbench.registry import methods
from kdbench.runs.settings import build_spec
from kdbench.training.applicable import check_applicable
from kdbench.training.data import build_dataset
from kdbench.training.step_cost import WARMUP, Side

CPU = torch.device("cpu")
STEPS = int(os.environ.get("KDBENCH_TURNS", 15))
NAMES = os.environ.get("KDBENCH_STEPS", ",".join(methods.names())).split(",")
DETECTOR = os.environ.get("KDBENCH_DETECTOR", "pointpillars")
TEACHER = "none x1"


def side(name: str, dataset, steps: int = WARMUP + STEPS) -> Side:
    method, ratio = ("none", 1.0) if name == TEACHER else (name, 4.0)
    spec = build_spec(method=method, detector=DETECTOR, ratio=ratio)
    check_applicable(spec)
    return Side(spec, dataset, CPU, steps)


@pytest.fixture(scope="module")
def dataset():
    spec = build_spec(detector=DETECTOR, overrides={"dataset.train_frames": 100})
    return build_dataset(spec)


@pytest.mark.parametrize("name", [TEACHER, *(n for n in NAMES if n != "none")])
def test_a_step(dataset, name):
    try:
        sides = [side(each, dataset) for each in ("none", name)]
    except NotApplicable:
        pytest.skip("not applicable")
    for i, batch in enumerate(sides[0].training.batches(0)):
        for each in sides[:: 1 if i % 2 else -1]:
            each.step(batch)
    assert {each.state.step for each in sides} == {WARMUP + STEPS}
    plain, own = (each.seconds[WARMUP:] for each in sides)
    ratio = median(b / a for a, b in zip(plain, own, strict=True))
    print(f"\n{name}: {ratio:.2f} x none, {median(own):.3f} s against {median(plain):.3f} s")
