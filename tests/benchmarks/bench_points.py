"""Speed of the point operators, and of PointRCNN in the `quick` profile, on this machine."""

import pytest
import torch

from kdbench.dataset import Batch
from kdbench.detectors.layers.point_input import fixed_clouds
from kdbench.measure.inputs import generated
from kdbench.ops.point_grouping import ball_query, gather_rows, three_nearest
from kdbench.ops.point_sampling import farthest_points
from kdbench.ops.roi_points import roi_points
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES, tiny_scene

RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
FRAMES = 4
sizes = pytest.mark.parametrize("points", [4096, 16384])


def cloud(points):
    """One generated frame as the network sees it (1, points, 3), and its first level."""
    batch = generated(RANGE, 1).batches[0]
    xyz = fixed_clouds(batch.points, 1, RANGE, points)[0][..., :3].contiguous()
    return xyz, gather_rows(xyz, farthest_points(xyz, points // 4))


@sizes
def test_farthest_points(benchmark, points):
    xyz, _ = cloud(points)
    benchmark(farthest_points, xyz, points // 4)


@sizes
@pytest.mark.parametrize("radius, count", [(0.1, 16), (0.5, 32), (4.0, 32)])
def test_ball_query(benchmark, points, radius, count):
    xyz, centres = cloud(points)
    benchmark(ball_query, centres, xyz, radius, count)


@sizes
def test_three_nearest(benchmark, points):
    xyz, coarse = cloud(points)
    benchmark(three_nearest, xyz, coarse)


@sizes
def test_points_of_100_rois(benchmark, points):
    xyz, _ = cloud(points)
    sizes = torch.tensor([[5.9, 3.6, 3.5, 0.3]]).expand(100, 4)
    benchmark(roi_points, xyz[0], torch.cat([xyz[0, :100], sizes], dim=1), 512)


@pytest.mark.parametrize("ratio", [1.0, 16.0])
def test_training_step(benchmark, ratio):
    """One step of the `quick` profile: four frames, forward and backward."""
    detector = build_detector(build_spec(detector="pointrcnn", ratio=ratio).detector, CLASSES)
    clouds = [b.points.clone() for b in generated(detector.point_range, FRAMES).batches]
    for i, points in enumerate(clouds):
        points[:, 0] = i
    scene = tiny_scene(detector.point_range, frames=FRAMES + 1, objects=12)
    batch = Batch(scene.ids[:-1], torch.cat(clouds), scene.boxes[:-1], scene.labels[:-1])

    def step():
        detector.zero_grad(set_to_none=True)
        taps = detector(detector.prepare(batch))
        sum(detector.loss(taps, batch).values()).backward()

    benchmark.pedantic(step, rounds=5, warmup_rounds=2)
