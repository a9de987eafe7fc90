"""Rotated overlap beside shapely's, and suppression of 1,000 boxes, on one CPU thread.

pytest tests/benchmarks/bench_boxes.py -s
"""

import statistics
import time

import numpy as np
import pytest
import torch
from shapely import affinity
from shapely.geometry import box as rectangle

from kdbench.geometry import rotated_iou, rotated_iou_torch
from kdbench.geometry.nms import rotated_nms

pytestmark = pytest.mark.usefixtures("one_thread")
BOXES, SAMPLE, ROUNDS = 1000, 400, 11
MILLISECONDS, TIMES_SHAPELY = 10, 100
# Metres either way: all pairs near, as in a crowd, or strewn as over a frame.
SPREADS = {"crowd": 3, "frame": 35}


def boxes(spread: float, seed: int) -> np.ndarray:
    """Boxes (n, 5: x, y, dx, dy, yaw) of the size of people and cars."""
    low, high = [-spread, -spread, 0.5, 0.5, -4], [spread, spread, 5, 3, 4]
    return np.random.default_rng(seed).uniform(low, high, (BOXES, 5))


def polygon(b):
    x, y, dx, dy, yaw = b
    flat = rectangle(x - dx / 2, y - dy / 2, x + dx / 2, y + dy / 2)
    return affinity.rotate(flat, yaw, use_radians=True)


def shapelys(a, b) -> np.ndarray:
    """IoU of pairs of polygons, made beforehand."""
    shared = [p.intersection(q).area for p, q in zip(a, b, strict=True)]
    return np.array([s / (p.area + q.area - s) for s, p, q in zip(shared, a, b, strict=True)])


def timed(function) -> tuple[float, object]:
    started = time.thread_time()
    result = function()
    return time.thread_time() - started, result


OURS = {
    "numpy": rotated_iou.bev_iou,
    "torch": lambda a, b: rotated_iou_torch.bev_iou(*map(torch.from_numpy, (a, b))).numpy(),
}


@pytest.mark.parametrize("where", SPREADS)
@pytest.mark.parametrize("name", OURS)
def test_overlap_of_a_pair(benchmark, name, where):
    a, b = boxes(SPREADS[where], 0), boxes(SPREADS[where], 1)
    i, j = np.random.default_rng(2).integers(0, BOXES, (2, SAMPLE))
    p, q = [polygon(x) for x in a[i]], [polygon(x) for x in b[j]]
    ratios, nanoseconds = [], []
    OURS[name](a, b)  # compiles

    def one_round():
        ours, iou = timed(lambda: OURS[name](a, b))
        theirs, expected = timed(lambda: shapelys(p, q))
        np.testing.assert_allclose(iou[i, j], expected, atol=1e-9)
        ratios.append((theirs / SAMPLE) / (ours / BOXES**2))
        nanoseconds.append(1e9 * ours / BOXES**2)

    benchmark.pedantic(one_round, rounds=ROUNDS)
    ratio = statistics.median(ratios)
    benchmark.extra_info |= {"ratio": ratio}
    print(f"\n{name}, {where}: {statistics.median(nanoseconds):.0f} ns a pair, "
          f"{ratio:.0f} times as fast as shapely")  # fmt: skip
    if name == "numpy" and where == "frame":
        assert ratio > TIMES_SHAPELY


@pytest.mark.parametrize("where", SPREADS)
def test_suppression_of_1000_boxes(benchmark, where):
    flat = torch.from_numpy(boxes(SPREADS[where], 0)).float()
    lidar = torch.zeros(BOXES, 7)
    lidar[:, [0, 1, 3, 4, 6]] = flat
    scores, times = torch.rand(BOXES, generator=torch.Generator().manual_seed(0)), []
    rotated_nms(lidar, scores, 0.1, BOXES)  # compiles

    def one_round():
        times.append(1e3 * timed(lambda: rotated_nms(lidar, scores, 0.1, BOXES))[0])

    benchmark.pedantic(one_round, rounds=ROUNDS)
    print(f"\n{where}: {statistics.median(times):.1f} ms for {BOXES:,} boxes")
    assert statistics.median(times) < MILLISECONDS
