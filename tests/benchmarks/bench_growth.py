"""How time grows with the work: tables, and the exponent of a straight line through their logs.

An exponent of 1 is linear growth. Processor time of all threads; sizes take turns, and the
fastest of some rounds counts, which other programs disturb least.

pytest tests/benchmarks/bench_growth.py -s
"""

import time

import numpy as np
import torch

from kdbench.dataset import Batch
from kdbench.evaluation.kitti_ap import evaluate
from kdbench.geometry import kitti_labels
from kdbench.measure.inputs import generated
from kdbench.ops.sparse import SparseTensor, SubMConv3d
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES, tiny_scene

LINEAR = 1.15  # what an exponent may be: sorting and caches are no more than that
ROUNDS = 3
FRAMES, POINTS, VOXELS = (500, 1000, 3769), (10_000, 20_000, 40_000, 120_000), (20, 60, 120)
SHAPE, CHANNELS = (41, 1600, 1408), 16


def growth(benchmark, title: str, work: dict) -> float:
    """Times each piece of work, by size, prints a table, and returns the exponent."""
    best = dict.fromkeys(work, np.inf)

    def one_round():
        for size, function in work.items():
            started = time.process_time()
            function()
            best[size] = min(best[size], time.process_time() - started)

    benchmark.pedantic(one_round, rounds=ROUNDS)
    exponent = np.polyfit(np.log(list(best)), np.log(list(best.values())), 1)[0]
    benchmark.extra_info |= {"exponent": exponent}
    print(f"\n{title}\n" + "\n".join(f"{n:>9,} {1e3 * s:9.0f} ms" for n, s in best.items()))
    print(f"grows as its power {exponent:.2f}")
    return exponent


def test_evaluation(benchmark, shared):
    ids = (shared / "kitti_labels/ImageSets/val.txt").read_text().split()
    labels = shared / "kitti_labels/label_2"
    results = shared / "golden/evaluator/noise_3class/data"
    truth = {i: kitti_labels.read(labels / f"{i}.txt") for i in ids}
    found = {i: kitti_labels.read(results / f"{i}.txt", scored=True) for i in ids}

    def part(count):
        chosen = ids[:: len(ids) // count][:count]
        return lambda: evaluate({i: truth[i] for i in chosen}, {i: found[i] for i in chosen})

    part(10)()  # compiles
    work = {count: part(count) for count in FRAMES}
    assert growth(benchmark, "evaluation by frames", work) < LINEAR


def test_training_step(benchmark):
    torch.manual_seed(0)
    detector = build_detector(build_spec(ratio=4.0).detector, CLASSES).train()
    scene = tiny_scene(detector.point_range, frames=2, objects=12)

    def part(points):
        cloud = generated(detector.point_range, 1, points).batches[0].points
        batch = Batch(scene.ids[:1], cloud, scene.boxes[:1], scene.labels[:1])

        def step():
            detector.zero_grad(set_to_none=True)
            taps = detector(detector.prepare(batch))
            sum(detector.loss(taps, batch).values()).backward()

        return step

    part(POINTS[0])()
    work = {points: part(points) for points in POINTS}
    assert growth(benchmark, "step of PointPillars by points", work) < LINEAR


def voxels(count: int):
    """Features and coordinates of so many voxels, as dense along the street at every count."""
    street = (SHAPE[0] // 4, SHAPE[1], SHAPE[2] * count // (1000 * VOXELS[-1]))
    chosen = np.random.default_rng(0).choice(np.prod(street), count, replace=False)
    places = np.stack(np.unravel_index(np.sort(chosen), street), axis=1)
    coordinates = torch.from_numpy(np.pad(places, ((0, 0), (1, 0))))
    return torch.randn(count, CHANNELS), coordinates


def test_sparse_convolution(benchmark):
    torch.manual_seed(0)
    layer = SubMConv3d(CHANNELS, CHANNELS)

    def part(count):
        features, coordinates = voxels(count)

        def step():
            out = layer(SparseTensor(features, coordinates, SHAPE, 1)).features
            torch.autograd.grad(out.sum(), layer.weight)

        return step

    part(1000 * VOXELS[0])()
    work = {1000 * count: part(1000 * count) for count in VOXELS}
    assert growth(benchmark, "sparse convolution by voxels", work) < LINEAR
