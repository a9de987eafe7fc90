"""The input pipeline beside the training it feeds, on the `quick` profile.

For the 4x student and the teacher, steps are trained with batches made as `kdbench run` makes
them (ahead by threads; on a GPU drawn ahead by threads and augmented there), and the same batches
are then made one by one on the CPU. Prints batches a second of the plain pipeline alone, the
step's time, and the share of the time that the model waits for data: measured, and what it would
be with the plain pipeline.
"""

from itertools import islice
from statistics import median
from time import perf_counter, thread_time

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch, collate
from kdbench.runs.settings import build_spec
from kdbench.training.data import build_dataset, epoch_order
from kdbench.training.loop import Meter, Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter

STEPS, WARMUP = 10, 3
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(build_spec())


def trained(spec, dataset) -> Meter:
    """Times of STEPS steps, and of the waits between them."""
    networks = build_networks(spec, DEVICE)
    training = Training(spec, dataset, *networks, DEVICE, None, Reporter(True))
    state, batches = training.initial_state(), training.batches(0)
    for batch in islice(batches, WARMUP):  # files, compiled loops, the object database
        training.step(state, batch)
    meter = Meter()
    for batch in meter.waiting(islice(batches, STEPS)):
        started = perf_counter()
        training.step(state, batch)
        meter.add(perf_counter() - started, len(batch))
    batches.close()
    return meter


def make_batch(dataset, spec, number: int) -> Batch:
    """Batch `number` of the first epoch, made by this thread."""
    order, size = epoch_order(dataset.ids("train"), spec.seed, 0), spec.train.batch_size
    places = range(number * size, (number + 1) * size)
    draws = (np.random.default_rng([spec.seed, 0, place]) for place in places)
    return collate(
        [dataset.training_frame(order[p], d) for p, d in zip(places, draws, strict=True)]
    )


@pytest.mark.parametrize("ratio", [4.0, 1.0])
def test_waiting_for_data(benchmark, dataset, ratio):
    spec = build_spec(method="none", ratio=ratio)
    meter = benchmark.pedantic(trained, args=(spec, dataset), rounds=1)
    walls, works = [], []
    for number in range(WARMUP, WARMUP + STEPS):
        wall, work = perf_counter(), thread_time()
        make_batch(dataset, spec, number)
        walls.append(perf_counter() - wall)
        works.append(thread_time() - work)
    alone, step = median(walls), median(meter.steps)
    shares = {"run": meter.summary()["data_wait_share"], "plain": alone / (alone + step)}
    benchmark.extra_info |= shares
    print(
        f"\n{DEVICE.type}, ratio {ratio:g}: a step {step:.3f} s; the pipeline alone "
        f"{1 / alone:.1f} batches a second, {1e3 * median(works):.1f} ms of processor time each; "
        f"waiting {shares['run']:.1%} in a run, {shares['plain']:.1%} if they were made one by one"
    )
