"""Voxelisation beside spconv's on the CPU, and reductions of segments beside torch-scatter's.

One frame, real where there is one, on one thread's own work; both sides take turns in one run.
spconv has to be told how many points a voxel may hold: 32 in a pillar and 5 in a voxel, as in
the published configurations, and puts the points in place without taking a mean. Ours has no cap
and, of voxels, takes the mean; a third side is spconv with a mean by torch. Voxels, coordinates
and counts are compared with a cap that no voxel reaches.

pytest tests/benchmarks/bench_voxels.py -s
"""

import statistics
import time

import numpy as np
import pytest
import torch

from kdbench.dataset import collate
from kdbench.datasets.kitti import Kitti
from kdbench.measure.inputs import generated
from kdbench.ops.scatter import segment_max, segment_mean
from kdbench.ops.voxelise import Grid, pillarise, voxelise

pytestmark = pytest.mark.usefixtures("one_thread")
PILLARS = Grid((0.0, -39.68, -3.0, 69.12, 39.68, 1.0), (0.16, 0.16))
VOXELS = Grid((0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (0.05, 0.05, 0.1))
CASES = {"pillars": (pillarise, PILLARS, 32), "voxels": (voxelise, VOXELS, 5)}
MOST_VOXELS, ROUNDS = 40_000, 31
ROWS, SEGMENTS, CHANNELS = 80_000, 12_000, 64


@pytest.fixture
def points(request):
    """The points (n, 5) of one frame."""
    try:
        dataset = Kitti(root=request.getfixturevalue("shared") / "kitti")
    except pytest.skip.Exception:
        return generated(VOXELS.point_range, 1).batches[0].points
    return collate([dataset.frame(dataset.ids("train")[0])]).points


def spconvs(grid: Grid, cap: int):
    utilities = pytest.importorskip("spconv.pytorch.utils")
    cell = (*grid.cell, 4.0)[:3]  # a pillar is as high as the range
    return utilities.PointToVoxel(list(cell), list(grid.point_range), 4, MOST_VOXELS, cap)


def turns(benchmark, sides: dict) -> dict[str, list[float]]:
    """Milliseconds of each side's rounds."""
    times = {name: [] for name in sides}

    def one_round():
        for name, function in sides.items():
            started = time.thread_time()
            function()
            times[name].append(1e3 * (time.thread_time() - started))

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=2)
    return {name: values[2:] for name, values in times.items()}


@pytest.mark.parametrize("name", CASES)
def test_same_voxels(points, name):
    function, grid, _ = CASES[name]
    ours = function(points, grid, 1)
    most = int(ours.counts.max())
    cells, places, counts = spconvs(grid, most)(points[:, 1:].contiguous())
    places = places.long()[:, -ours.coordinates.shape[1] + 1 :]
    order = np.lexsort(places.T.flip(0).numpy())
    assert torch.equal(ours.coordinates[:, 1:], places[order])
    assert torch.equal(ours.counts, counts[order].long())
    if name == "voxels":
        means = cells[order].sum(1) / ours.counts.unsqueeze(1)
        torch.testing.assert_close(ours.features, means, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_time_of_voxels(benchmark, points, name):
    function, grid, cap = CASES[name]
    theirs, bare = spconvs(grid, cap), points[:, 1:].contiguous()

    def with_mean():
        cells, _, counts = theirs(bare)
        return cells.sum(1) / counts.unsqueeze(1)

    sides = {"ours": lambda: function(points, grid, 1), "spconv": lambda: theirs(bare)}
    if name == "voxels":
        sides["spconv and a mean"] = with_mean
    times = turns(benchmark, sides)
    print(f"\n{name}, {len(points):,} points")
    for side, values in times.items():
        ratio = statistics.median(np.divide(times["ours"], values))
        benchmark.extra_info[side] = ratio
        print(f"{side:18} {statistics.median(values):5.2f} ms, ours takes {ratio:.2f} of it")


def reductions(name: str):
    """Ways to reduce sorted rows (n, C) to segments, by library."""
    counts = torch.full((SEGMENTS,), ROWS // SEGMENTS)
    counts[: ROWS % SEGMENTS] += 1
    place = torch.arange(SEGMENTS).repeat_interleave(counts)
    wide = place.unsqueeze(1).expand(-1, CHANNELS)
    ours, torchs = {"max": (segment_max, "amax"), "mean": (segment_mean, "mean")}[name]

    def scatter_reduce(x):
        empty = x.new_zeros(SEGMENTS, CHANNELS)
        return empty.scatter_reduce(0, wide, x, torchs, include_self=False)

    found = {"ours": lambda x: ours(x, counts), "scatter_reduce": scatter_reduce}
    try:
        from torch_scatter import scatter
    except ImportError:
        return found
    return found | {"torch-scatter": lambda x: scatter(x, place, 0, reduce=name)}


@pytest.mark.parametrize("name", ["max", "mean"])
def test_time_of_reductions(benchmark, name):
    x = torch.randn(ROWS, CHANNELS, requires_grad=True)
    gradient, functions = torch.randn(SEGMENTS, CHANNELS), reductions(name)
    for function in functions.values():
        torch.testing.assert_close(function(x), functions["ours"](x))
    steps = {
        side: lambda f=function: torch.autograd.grad(f(x), x, gradient)
        for side, function in functions.items()
    }
    times = turns(benchmark, steps)
    print(f"\n{name} of {ROWS:,} x {CHANNELS} rows in {SEGMENTS:,} segments, forward and backward")
    for side, values in times.items():
        print(f"{side:15} {statistics.median(values):6.1f} ms")
