"""What a training step of each method costs, beside that of the student alone.

Steps of the method, of `none` and the teacher's forward pass take turns in one run, on batches of
the `quick` profile, with the teacher that `make demo` leaves in the cache. Prints the medians, the
ratio of the method's to that of `none`, and what the method itself adds to student and teacher.
"""

from dataclasses import replace
from itertools import islice
from statistics import median
from time import perf_counter

import pytest
import torch

from kdbench.errors import DataError
from kdbench.registry import methods
from kdbench.runs import store
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec
from kdbench.training.data import build_dataset
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter
from kdbench.training.teachers import source_run

STEPS, WARMUP = 12, 2
CPU = torch.device("cpu")
FREE = ("none",)  # a step of its is the student's own


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(build_spec())


def identified(name: str, dataset) -> RunSpec:
    spec = build_spec(method=name, ratio=4.0)
    return replace(spec, dataset=replace(spec.dataset, fingerprint=dataset.fingerprint()))


class Stepper:
    """One training, a timed step at a time."""

    def __init__(self, spec: RunSpec, dataset):
        networks = build_networks(spec, CPU)
        self.training = Training(spec, dataset, *networks, CPU, None, Reporter(True))
        self.state = self.training.initial_state()
        self.seconds = []

    def step(self, batch) -> None:
        started = perf_counter()
        self.training.step(self.state, batch)
        self.seconds.append(perf_counter() - started)


class Forward:
    """The teacher's forward pass, timed."""

    def __init__(self, teacher):
        self.teacher, self.seconds = teacher, []

    @torch.no_grad()
    def step(self, batch) -> None:
        inputs = self.teacher.prepare(batch)
        started = perf_counter()
        self.teacher(inputs)
        self.seconds.append(perf_counter() - started)


@pytest.mark.parametrize("name", [n for n in methods.names() if n not in FREE])
def test_a_training_step(benchmark, dataset, name):
    spec = identified(name, dataset)
    try:
        teacher = store.load_trained(
            source_run(spec) or identified("kd", dataset).teacher_run()
        ).eval()
    except DataError:
        pytest.skip("no trained teacher in the cache; run `make demo` first")
    sides = [Stepper(s, dataset) for s in (spec, identified("none", dataset))] + [Forward(teacher)]
    batches = list(islice(sides[0].training.batches(0), WARMUP + STEPS))

    def turns():
        for batch in batches:
            for side in sides:
                side.step(batch)

    benchmark.pedantic(turns, rounds=1)
    taught, plain, forward = (median(side.seconds[WARMUP:]) for side in sides)
    ratio, added = taught / plain, taught / (plain + forward) - 1
    benchmark.extra_info |= {"ratio": ratio, "added": added}
    print(
        f"\n{name}: {taught:.3f} s a step, none {plain:.3f} s ({ratio:.2f} x), teacher's forward "
        f"{forward:.3f} s ({added:+.0%}); medians of {STEPS}"
    )
