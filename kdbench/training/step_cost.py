"""What a training step of a method costs beside one without distillation, side by side.

Seconds of trainings are no measure: other programs ran beside some of them, and on other machines.
Here a method and `none` take turns on the same batches in one process, and what counts is the
median of the pairs' quotients.
"""

from dataclasses import replace
from statistics import median
from time import perf_counter

import torch

from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import DataError
from kdbench.runs import store
from kdbench.runs.build import build_detector, classes_of
from kdbench.runs.spec import RunSpec
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter

WARMUP, TURNS = 3, 15  # steps of each


def step_cost(spec: RunSpec, dataset: Dataset, device: torch.device, turns: int = TURNS) -> dict:
    """`ratio`: a step of the run against a plain one; `seconds` and `plain`: medians of both."""
    sides = [Side(each, dataset, device, WARMUP + turns) for each in (spec.baseline(), spec)]
    for i, batch in enumerate(sides[0].training.batches(0)):
        for side in sides[:: 1 if i % 2 else -1]:
            side.step(batch)
    plain, own = (side.seconds[WARMUP:] for side in sides)
    return {
        "ratio": median(b / a for a, b in zip(plain, own, strict=True)),
        "seconds": median(own),
        "plain": median(plain),
        "turns": turns,
    }


class Side:
    """One training of so many `steps`, timed step by step: `seconds` of each."""

    def __init__(self, spec: RunSpec, dataset: Dataset, device: torch.device, steps: int):
        networks = build_networks(spec, device, _trained_or_drawn)
        spec = replace(spec, train=replace(spec.train, steps=steps))
        self.training = Training(spec, dataset, *networks, device, None, Reporter(quiet=True))
        self.state, self.seconds, self.device = self.training.initial_state(), [], device

    def step(self, batch) -> None:
        started = perf_counter()
        self.training.step(self.state, batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(perf_counter() - started)


def _trained_or_drawn(run: RunSpec, weights: str) -> Detector:
    """The network of a run; as it was drawn where its weights are not here: it costs the same."""
    try:
        return store.load_trained(run, weights)
    except DataError:
        return build_detector(run.detector, classes_of(run.dataset))
