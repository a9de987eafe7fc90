"""Frames a second of the `quick` profile's networks, forward and backward, on this machine."""

import pytest
import torch

from kdbench.dataset import Batch
from kdbench.measure.inputs import generated
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES, tiny_scene

FRAMES = 4


def quick_batch(point_range) -> Batch:
    """Generated clouds with as many points as real frames have, and some boxes to learn."""
    clouds = [b.points.clone() for b in generated(point_range, FRAMES).batches]
    for i, cloud in enumerate(clouds):
        cloud[:, 0] = i
    scene = tiny_scene(point_range, frames=FRAMES + 1, objects=12)
    return Batch(scene.ids[:-1], torch.cat(clouds), scene.boxes[:-1], scene.labels[:-1])


@pytest.mark.parametrize("ratio", [1.0, 4.0, 16.0])
def test_forward_and_backward(benchmark, ratio):
    detector = build_detector(build_spec(ratio=ratio).detector, CLASSES).train()
    batch = quick_batch(detector.point_range)

    def step():
        detector.zero_grad(set_to_none=True)
        taps = detector(detector.prepare(batch))
        sum(detector.loss(taps, batch).values()).backward()

    benchmark.pedantic(step, rounds=15, warmup_rounds=3)
    rate = FRAMES / benchmark.stats.stats.median
    benchmark.extra_info["frames_per_second"] = rate
    print(f"\nratio {ratio:g}: {rate:.1f} frames a second (median of 15)")
