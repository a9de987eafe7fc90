"""How often the host waits for a GPU, and how many kernels it calls: a fake GPU counts them.

A kernel takes the host some microseconds to call, whatever it does, and a wait some tens.
"""

import numpy as np
import pytest
import torch

from kdbench.datasets.kitti_tree import KittiTree
from kdbench.measure.inference import Options, fused
from kdbench.measure.inputs import generated
from kdbench.methods.pointdistiller import PointDistiller
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec
from kdbench.taps import Kind, Rows, TapSpec
from kdbench.training.conformance import CLASSES, tiny_scene

fake = pytest.importorskip("fake_tensor", reason="counts are those of a fake GPU")
pytestmark = pytest.mark.cuda
RANGE = (0.0, -10.24, -3.0, 20.48, 10.24, 1.0)


def detector(name):
    torch.manual_seed(0)
    return build_detector(DetectorSpec(name, 4.0, {"point_range": RANGE}), CLASSES).cuda()


@pytest.mark.parametrize("name", ["pointpillars", "centerpoint"])
def test_a_frame_waits_twice(name):
    plain = detector(name).eval()
    frame = generated(RANGE, 1).batches[0].to("cuda")
    fast = fused(plain, frame, Options(half=True, graph=True))
    with torch.no_grad():
        fast.predict(fast(fast.prepare(frame)))  # records the graph, makes constants
        with fake.counting() as counts:
            fast.predict(fast(fast.prepare(frame)))
    assert counts.waits.total() == 2  # how many pillars there are; the candidates
    assert counts.uploads.total() == 1  # which of them are kept
    assert counts.kernels.total() < 110


@pytest.mark.parametrize(("name", "waits"), [("pointpillars", 2), ("centerpoint", 1)])
def test_waits_of_a_loss(name, waits):
    network, batch = detector(name), tiny_scene(RANGE, frames=4).to("cuda")
    taps = network(network.prepare(batch))
    network.loss(taps, batch)
    with fake.counting() as counts:
        network.loss(taps, batch)
    assert counts.waits.total() == waits


def test_a_batch_of_frames_waits_once(kitti_tree):
    frames = KittiTree(root=kitti_tree, point_range=list(RANGE)).on_device(torch.device("cuda"))
    jobs = [frames.plan(i, np.random.default_rng(0)) for i in ("000000", "000001", "000004")]
    frames.batch(jobs)
    with fake.counting() as counts:
        frames.batch(jobs)
    assert counts.waits.total() == 1  # how many points are left
    assert counts.kernels.total() < 100


def test_graphs_of_many_centres_are_few_kernels():
    torch.manual_seed(0)
    specs = [{"voxel": TapSpec(Kind.ROWS, c)} for c in (4, 8)]
    method = PointDistiller(*specs).cuda()
    there = torch.zeros(8000, 3, dtype=torch.long).cuda(), torch.arange(1, 8001).cuda()
    taps = [{"voxel": Rows(torch.randn(8000, c).cuda(), *there)} for c in (4, 8)]
    taps[0]["voxel"].features.requires_grad_()
    with fake.counting() as counts:
        method(*taps, None)["graph"].backward()
    assert counts.waits.total() <= 4
    assert counts.kernels.total() < 350
