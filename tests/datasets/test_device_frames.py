"""Frames augmented on a device are those augmented on the CPU by numpy."""

import numpy as np
import pytest
import torch

from kdbench.dataset import collate
from kdbench.datasets.device_frames import KittiDeviceFrames
from kdbench.datasets.kitti_tree import KittiTree
from kdbench.errors import DataError
from kdbench.training.data import training_batches

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
OPTIONS = [
    {},
    {"point_range": [0, -25, -3, 50, 25, 1]},
    {"augmentation": {"samples": {}}},
    {"augmentation": {"samples": {"Car": 3}, "flip": 1.0, "object_tries": 0}},
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS)
def test_equals_the_cpu(kitti_tree, options, device):
    """Points, their order, boxes and labels: to the bit on a CPU, to rounding on a GPU."""
    data = KittiTree(root=kitti_tree, **options)
    frames = data.on_device(torch.device(device))
    for seed in range(20):
        ids = ["000001", "000000", "000001"]
        draws = [[np.random.default_rng([seed, k]) for k in range(3)] for _ in range(2)]
        found = frames.batch([frames.plan(i, rng) for i, rng in zip(ids, draws[0], strict=True)])
        plain = collate([data.training_frame(i, r) for i, r in zip(ids, draws[1], strict=True)])
        assert {x.device.type for x in (found.points, *found.boxes, *found.labels)} == {device}
        assert found.ids == plain.ids
        pairs = zip(
            [found.points, *found.boxes, *found.labels],
            [plain.points, *plain.boxes, *plain.labels],
            strict=True,
        )
        for ours, expected in pairs:
            assert ours.dtype == expected.dtype
            bound = 0 if device == "cpu" else 1e-4
            torch.testing.assert_close(ours.cpu(), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("samples", [{}, {"Car": 5}])
def test_frame_without_points_and_objects(kitti_tree, samples):
    (kitti_tree / "training/velodyne/000001.bin").write_bytes(b"")
    (kitti_tree / "training/label_2/000001.txt").write_text("")
    data = KittiTree(root=kitti_tree, augmentation={"samples": samples})
    frames = data.on_device(torch.device("cpu"))
    batch = frames.batch([frames.plan("000001", np.random.default_rng(0))])
    expected = collate([data.training_frame("000001", np.random.default_rng(0))])
    assert torch.equal(batch.points, expected.points)
    assert torch.equal(batch.boxes[0], expected.boxes[0])


def test_frames_stay_on_the_device_until_it_is_full(kitti_tree):
    data = KittiTree(root=kitti_tree)
    size = data.frame("000000").points.nbytes
    frames = data.on_device(torch.device("cpu"))
    small = KittiDeviceFrames(frames.device, frames._draw, data.database, None, max_bytes=size)
    for _ in range(2):
        batches = [
            f.batch([f.plan(i, np.random.default_rng(0)) for i in ("000000", "000001")])
            for f in (frames, small)
        ]
        assert torch.equal(batches[0].points, batches[1].points)
    assert list(frames._kept) == ["000000", "000001"] and list(small._kept) == ["000000"]
    assert small.bytes == size


def test_without_augmentation_the_cpu_does_it(kitti_tree):
    data = KittiTree(root=kitti_tree, augmentation={"enabled": False})
    assert data.on_device(torch.device("cpu")) is None


def test_training_batches_are_the_same(kitti_tree):
    data = KittiTree(root=kitti_tree)
    frames = data.on_device(torch.device("cpu"))
    plain = list(training_batches(data, 0, 1, 2, skip=1))
    found = list(training_batches(data, 0, 1, 2, skip=1, on_device=frames))
    assert [b.ids for b in found] == [b.ids for b in plain]
    assert all(torch.equal(a.points, b.points) for a, b in zip(found, plain, strict=True))


def test_a_damaged_cloud_is_named(kitti_tree):
    (kitti_tree / "training/velodyne/000001.bin").write_bytes(b"123")
    data = KittiTree(root=kitti_tree, augmentation={"samples": {}})
    with pytest.raises(DataError, match=r"000001\.bin"):
        list(training_batches(data, 0, 0, 1, on_device=data.on_device(torch.device("cpu"))))
