"""PointDistiller's loss beside a direct implementation: time, memory and equality.

The direct one holds all distances and all edges at once, as the formula reads. Forward and
backward pass with the published 6,000 centres and 128 neighbours among 30,000 pillars; both
sides take turns in one run, on a GPU where there is one, by the clock; on the CPU by the processor
time of all threads. Each case in turn:

paper           maximum over the neighbours
released        the temperature leaves weight on the fullest pillars only
released, full  as many points in every pillar, so all centres have weight

pytest tests/benchmarks/bench_graphs.py -s
"""

import copy
import statistics
import sys
import time
from dataclasses import replace
from subprocess import run

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdbench.measure.device import resolve_device
from kdbench.measure.memory import PeakMemory
from kdbench.methods.pointdistiller import MAX_COUNT, RELEASED_TAU, PointDistiller
from kdbench.ops.neighbours import nearest
from kdbench.taps import Kind, Rows, TapSpec

PILLARS, TEACHER, STUDENT = 30_000, 64, 32
ROUNDS = 5
CASES = ["paper", "released", "released, full"]
DEVICE = resolve_device("auto")


def problem(case: str):
    """Method and taps of the student and the teacher."""
    torch.manual_seed(0)
    specs = [{"voxel": TapSpec(Kind.ROWS, c)} for c in (STUDENT, TEACHER)]
    method = PointDistiller(*specs, variant=case.split(",")[0]).to(DEVICE)
    counts = torch.from_numpy(np.random.default_rng(0).pareto(0.9, PILLARS) + 1).long()
    counts = counts.clamp(MAX_COUNT if "full" in case else 1, 400)
    places = torch.zeros(PILLARS, 3, dtype=torch.long)
    there = [x.to(DEVICE) for x in (places, counts)]
    features = [torch.randn(PILLARS, c).relu().to(DEVICE) for c in (STUDENT, TEACHER)]
    features[0].requires_grad_()
    return method, *({"voxel": Rows(x, *there)} for x in features)


def ours(method, student, teacher):
    return method(student, teacher, None)["graph"]


def direct(method, student, teacher):
    """The same loss of one frame by its formula, from the method's own weights."""
    rows = teacher["voxel"]
    counts = rows.counts.clamp(max=MAX_COUNT) if method.released else rows.counts
    centre = counts.topk(method.n).indices
    with torch.no_grad():
        features = rows.features.float()  # in double precision too: the same neighbours
        distance = squared_distance(features[centre], features)
        near = distance.topk(method.k, dim=1, largest=False).indices
        del distance
    sides = (method.student_graphs[0], student), (method.teacher_graphs[0], teacher)
    of_s, of_t = (direct_edges(layer, t["voxel"].features, centre, near) for layer, t in sides)
    score = counts[centre].to(of_s.dtype)
    if method.released:
        weight = torch.softmax(score / RELEASED_TAU, 0)
    else:
        weight = torch.softmax(score / (method.tau * score.max()), 0)
        of_s, of_t = of_s.amax(1), of_t.amax(1)
    return 2 * (weight * (of_s - of_t).square().flatten(1).mean(1)).sum()


def squared_distance(queries, rows):
    return torch.addmm(rows.square().sum(1), queries, rows.T, alpha=-2)


def direct_edges(layer, rows, centre, near):
    """ReLU(BN(W [neighbour, centre])) as (m, k, c); a 1x1 convolution, in its fastest layout."""
    own = rows[centre].unsqueeze(1).expand(-1, near.shape[1], -1)
    pairs = torch.cat([rows[near], own], dim=2).flatten(0, 1)
    weight = torch.cat([layer.neighbour.weight, layer.centre.weight], dim=1)
    edges = F.linear(pairs, weight, layer.neighbour.bias)
    edges = F.batch_norm(edges, None, None, layer.norm.weight, layer.norm.bias, training=True)
    return torch.relu(edges).view(*near.shape, -1)


SIDES = {"ours": ours, "direct": direct}


def step(side: str, case):
    """Loss, and its gradients by all that learns."""
    method, student, teacher = case
    loss = SIDES[side](method, student, teacher)
    learning = [student["voxel"].features]
    # The norm takes a bias before it out again: its gradient is nothing but rounding.
    learning += [p for name, p in method.named_parameters() if not name.endswith("neighbour.bias")]
    return loss.detach(), *torch.autograd.grad(loss, learning)


def in_double(method, student, teacher):
    """The same problem in double precision."""

    def doubled(taps):
        x = taps["voxel"].features
        x = x.detach().double().requires_grad_(x.requires_grad)
        return {"voxel": replace(taps["voxel"], features=x)}

    return copy.deepcopy(method).double(), doubled(student), doubled(teacher)


@pytest.mark.parametrize("name", CASES)
def test_equal(name):
    """In single precision the batch norm of the direct one is off by more than the bound."""
    case = problem(name)
    for a, b in zip(step("ours", case), step("direct", in_double(*case)), strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()


def seconds(function, *arguments) -> float:
    if DEVICE.type == "cpu":
        started = time.process_time()
        function(*arguments)
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    function(*arguments)
    torch.cuda.synchronize()
    return time.perf_counter() - started


@pytest.mark.parametrize("name", CASES)
def test_time(benchmark, name):
    case, times = problem(name), {side: [] for side in SIDES}

    def one_round():
        for side, values in times.items():
            values.append(seconds(step, side, case))

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    report(benchmark, name, {side: values[1:] for side, values in times.items()})


def test_time_of_the_neighbours(benchmark):
    rows = torch.randn(PILLARS, TEACHER).relu().to(DEVICE)
    sides = {
        "ours": lambda: nearest(rows[:6000], rows, 128),
        "direct": lambda: squared_distance(rows[:6000], rows).topk(128, dim=1, largest=False),
    }
    times = {side: [] for side in sides}

    def one_round():
        for side, values in times.items():
            values.append(seconds(sides[side]))

    benchmark.pedantic(one_round, rounds=ROUNDS)
    report(benchmark, "neighbours", times)


def report(benchmark, name: str, times: dict[str, list[float]]) -> None:
    ratio = statistics.median(np.divide(times["direct"], times["ours"]))
    ours, direct = (1e3 * statistics.median(times[side]) for side in ("ours", "direct"))
    benchmark.extra_info |= {"ratio": ratio}
    print(f"\n{name}: ours {ours:.1f} ms, direct {direct:.1f} ms, {ratio:.1f} times as fast")


@pytest.mark.parametrize("name", CASES)
def test_peak_memory(name):
    found = {}
    for side in SIDES:
        command = [sys.executable, __file__, name, side]
        output = run(command, check=True, capture_output=True, text=True).stdout
        found[side] = int(output) / 1e6
    ours, direct = found["ours"], found["direct"]
    print(f"\n{name}: ours {ours:.0f} MB, direct {direct:.0f} MB above inputs: {ours / direct:.3f}")
    assert ours < direct / 4


def print_peak(name: str, side: str) -> None:
    """Bytes that a first step takes beyond what was there before it."""
    case, memory = problem(name), PeakMemory(DEVICE)
    memory.start()
    before = memory.stop()["bytes"]
    step(side, case)
    print(memory.stop()["bytes"] - before)


if __name__ == "__main__":
    print_peak(*sys.argv[1:])
