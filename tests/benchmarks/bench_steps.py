"""A training step of each method beside a plain one, on the machine that is there.

KDBENCH_STEPS=kd,fitnet pytest tests/benchmarks/bench_steps.py -o python_files='bench_*.py' -m '' -s

Networks are untrained (a step costs the same), the profile is `quick`, and so are the frames.
Methods and `none` take turns in one process, batch by batch; medians of the pairs' quotients.
"""

import os
from itertools import islice
from statistics import median
from time import perf_counter

import pytest
import torch

from kdbench.errors import NotApplicable
from kdbench.registry import methods
from kdbench.runs import store
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.data import build_dataset
from kdbench.training.loop import Training
from kdbench.training.progress import Reporter
from kdbench.training.run import build_networks, check_applicable

CPU = torch.device("cpu")
WARMUP, STEPS = 3, int(os.environ.get("KDBENCH_TURNS", 15))
NAMES = os.environ.get("KDBENCH_STEPS", ",".join(methods.names())).split(",")
DETECTOR = os.environ.get("KDBENCH_DETECTOR", "pointpillars")
TEACHER = "none x1"


class Side:
    """One training, timed step by step."""

    def __init__(self, name: str, dataset):
        method, ratio = ("none", 1.0) if name == TEACHER else (name, 4.0)
        spec = build_spec(method=method, detector=DETECTOR, ratio=ratio)
        check_applicable(spec)
        networks = build_networks(spec, dataset, CPU)
        self.training = Training(spec, dataset, *networks, CPU, None, Reporter(quiet=True))
        self.state, self.seconds = self.training.initial_state(), []

    def step(self, batch) -> None:
        started = perf_counter()
        self.training.step(self.state, batch)
        self.seconds.append(perf_counter() - started)


@pytest.fixture(scope="module")
def dataset():
    spec = build_spec(detector=DETECTOR, overrides={"dataset.train_frames": 100})
    return build_dataset(spec)


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    """A network as it was drawn, where a trained one is asked for."""
    monkeypatch.setattr(
        store, "load_trained",
        lambda spec, wanted="": build_detector(spec.detector, ("Car", "Pedestrian", "Cyclist")),
    )  # fmt: skip


@pytest.mark.parametrize("name", [TEACHER, *(n for n in NAMES if n != "none")])
def test_a_step(dataset, name):
    try:
        sides = [Side(each, dataset) for each in ("none", name)]
    except NotApplicable:
        pytest.skip("not applicable")
    batches = list(islice(sides[0].training.batches(0), WARMUP + STEPS))
    for i, batch in enumerate(batches):
        for side in sides[:: 1 if i % 2 else -1]:
            side.step(batch)
    assert {side.state.step for side in sides} == {WARMUP + STEPS}
    plain, own = (side.seconds[WARMUP:] for side in sides)
    ratio = median(b / a for a, b in zip(plain, own, strict=True))
    print(f"\n{name}: {ratio:.2f} x none, {median(own):.3f} s against {median(plain):.3f} s")
