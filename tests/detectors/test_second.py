"""SECOND as a whole: sizes, taps, awkward clouds, and learning one scene by heart."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch, collate
from kdbench.datasets.kitti import Kitti
from kdbench.detectors.layers.sparse_encoder import SparseEncoder
from kdbench.detectors.layers.voxel_map import LEAST_DEPTH
from kdbench.detectors.second import Second
from kdbench.errors import UsageError
from kdbench.geometry.boxes import wrap_angle
from kdbench.geometry.rotated_iou import BEV_COLUMNS, bev_iou
from kdbench.ops.macs import MacCounter
from kdbench.taps import Kind
from kdbench.training.conformance import tiny_scene

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -10.24, -3.0, 25.6, 10.24, 1.0)  # longer than wide: a map of 10 cells by 8


def detector(ratio=16, seed=0, **options):
    torch.manual_seed(seed)
    options = {"point_range": RANGE, "voxel_size": (0.32, 0.32, 0.1)} | options
    return Second(CLASSES, ratio, **options)


def batch_of(points, frames):
    boxes, labels = torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)
    return Batch([str(i) for i in range(frames)], points, [boxes] * frames, [labels] * frames)


def frame_of(batch, i):
    """Frame `i` of a batch as a batch of its own."""
    points = batch.points[batch.points[:, 0] == i].clone()
    points[:, 0] = 0
    return Batch([batch.ids[i]], points, [batch.boxes[i]], [batch.labels[i]])


# Size


@pytest.mark.parametrize("ratio, count", [(1, 5_325_576), (4, 1_342_824), (16, 341_448)])
def test_the_published_networks_have_their_parameters(ratio, count):
    assert sum(p.numel() for p in detector(ratio).parameters()) == count


def test_the_published_grid_gives_the_published_map():
    network = Second(CLASSES, 100)
    assert network.encoder.shape == (41, 1600, 1408)
    assert network.head.anchors.shape == (200, 176, 6, 7)
    assert network.taps["backbone.0"].cell == pytest.approx(0.4)
    assert network.taps["backbone.1"].cell == pytest.approx(0.8)


@pytest.mark.parametrize("ratio, macs", [(1, 69.64), (4, 17.73), (16, 4.60)])
def test_the_dense_part_has_the_published_macs_on_the_published_grid(ratio, macs):
    """10 of the 80 x 70.4 m wide map's rows in place of its 200: every layer has its share."""
    strip = detector(
        ratio, point_range=(0.0, -2.0, -3.0, 70.4, 2.0, 1.0), voxel_size=(0.05, 0.05, 0.1)
    )
    inputs = strip.prepare(batch_of(torch.tensor([[0, 5.0, 0, -1, 0.5]]), 1))
    with torch.no_grad(), MacCounter() as whole:
        strip(inputs)
    with torch.no_grad(), MacCounter() as sparse:
        strip.encoder(inputs)
    assert (whole.macs - sparse.macs) * 20 / 1e9 == pytest.approx(macs, abs=0.005)


@pytest.mark.parametrize("ratio", [2, 7, 1e6])
def test_any_ratio_divides_the_widths_by_its_root(ratio):
    network = detector(ratio)
    root = math.sqrt(ratio)
    for name, published in {"backbone.0": 128, "backbone.1": 256}.items():
        assert network.taps[name].channels == max(1, int(published / root))
    assert network.taps["neck"].channels == 2 * max(1, int(256 / root))
    loss = network.loss(network(network.prepare(batch := tiny_scene(RANGE))), batch)
    assert sum(loss.values()).isfinite()


@pytest.mark.parametrize("ratio", [0.5, 0, -4, float("nan")])
def test_a_ratio_below_one_is_refused(ratio):
    with pytest.raises(UsageError, match="ratio"):
        detector(ratio)


@pytest.mark.parametrize(
    "options",
    [
        {"point_range": [0, 1]},
        {"voxel_size": (0.32, 0.32)},
        {"voxel_size": (0.32, 0.32, 0.0)},
        {"voxel_size": (-0.32, 0.32, 0.1)},
        {"voxel_size": (0.32, 0.64, 0.1), "point_range": [0, 0, -3, 25.6, 5.12, 1]},
        {"voxel_size": (0.3, 0.3, 0.1)},
        {"voxel_size": (0.32, 0.32, 0.15)},
        {"voxel_size": (0.32, 0.32, 0.2)},
        {"point_range": [25.6, -10.24, -3, 0, 10.24, 1]},
    ],
)
def test_a_grid_that_cannot_be_is_refused(options):
    with pytest.raises(UsageError, match="^second: .*point_range.* voxel_size"):
        detector(**options)


def test_the_least_depth_is_the_fewest_voxels_that_leave_a_map():
    encoder = SparseEncoder(4, (1, 1, 1, 1), 1, 0.1)
    depths = [
        encoder.output_shape((voxels + 1, 16, 16))[0] for voxels in (LEAST_DEPTH - 1, LEAST_DEPTH)
    ]
    assert depths == [0, 1]
    network = detector(point_range=[0, -10.24, -3, 25.6, 10.24, -0.6])
    assert network(network.prepare(tiny_scene(RANGE)))["neck"].isfinite().all()


# Taps


@pytest.mark.parametrize("ratio", [1, 7, 16])
def test_taps_are_what_their_specs_say(ratio):
    network = detector(ratio)
    taps = network(network.prepare(tiny_scene(RANGE)))
    assert list(taps) == list(network.taps)
    for name, spec in network.taps.items():
        width, height = (round((RANGE[i + 3] - RANGE[i]) / spec.cell) for i in (0, 1))
        if spec.kind in (Kind.BEV, Kind.COUNTS):
            assert taps[name].shape == (2, spec.channels, height, width)
        else:
            assert taps[name].shape == (2, height, width, 6, spec.channels)
        assert spec.origin == RANGE[:2]


def test_counts_are_the_points_over_each_cell_of_the_first_stage():
    network, points = detector(), tiny_scene(RANGE, frames=3).points
    points = torch.cat([points, torch.tensor([[0, -1.0, 0, 0, 0], [1, 3, 3, 9, 0]])])  # outside
    counts = network(network.prepare(batch_of(points, 3)))["counts"]
    low, high = (np.float32(RANGE[i : i + 3]) for i in (0, 3))
    inside = points[((points[:, 1:4].numpy() >= low) & (points[:, 1:4].numpy() < high)).all(1)]
    expected = torch.zeros(3, 1, 8, 10)
    for frame, x, y, *_ in inside.tolist():
        expected[int(frame), 0, int((y + 10.24) / 2.56), int(x / 2.56)] += 1
    assert torch.equal(counts, expected)
    assert counts.shape[2:] == network(network.prepare(batch_of(points, 3)))["backbone.0"].shape[2:]


def test_preactivations_become_the_maps():
    network = detector()
    taps = network(network.prepare(tiny_scene(RANGE)))
    for i in (0, 1):
        assert torch.equal(taps[f"preact.{i}"].relu(), taps[f"backbone.{i}"])
        assert taps[f"preact.{i}"].min() < 0


@pytest.mark.parametrize("x, y", [(4.0, -5.0), (21.0, 7.0)])
def test_the_map_of_a_lone_point_is_zero_but_around_it(x, y):
    network = detector().eval()
    inputs = network.prepare(batch_of(torch.tensor([[0, x, y, -1, 0.5]]), 1))
    bev, _ = network.encoder(inputs)
    rows, columns = torch.nonzero(bev[0].sum(0), as_tuple=True)
    assert 1 <= len(rows) <= 4
    # Strided kernels overlap by one voxel: a point counts for a cell and perhaps the next one.
    assert ((columns.double() + 0.5) * 2.56 - x).abs().max() <= 1.5 * 2.56
    assert ((rows.double() + 0.5) * 2.56 - 10.24 - y).abs().max() <= 1.5 * 2.56


def test_teacher_and_student_share_the_input_and_its_rules():
    teacher, student = detector(1).eval(), detector(16, seed=1)
    inputs = student.prepare(tiny_scene(RANGE))
    alone = student.eval()(student.prepare(tiny_scene(RANGE)))
    with torch.no_grad():
        first = teacher(inputs)
    assert torch.equal(student(inputs)["neck"], alone["neck"])
    assert torch.equal(first["counts"], alone["counts"])


# Awkward clouds

AWKWARD = {
    "no points": (torch.zeros(0, 5), 2),
    "no points in range": (torch.tensor([[0, -50.0, 0, 0, 0], [1, 0, 500, 0, 0]]), 2),
    "one point": (torch.tensor([[0, 5.0, 0, -1, 0.5]]), 1),
    "one point, two frames": (torch.tensor([[1, 5.0, 0, -1, 0.5]]), 2),
    "one point each": (torch.tensor([[0, 5.0, 0, -1, 0.5], [1, 9.0, 2, -1, 0.5]]), 2),
    "one voxel": (torch.tensor([[0, 5.0, 0, -1, 0.5]]).repeat(9, 1), 1),
    "corners": (torch.tensor([[0, 0.0, -10.24, -3, 0], [0, 25.599, 10.239, 0.999, 0]]), 1),
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("points, frames", AWKWARD.values(), ids=AWKWARD)
def test_awkward_clouds_give_finite_losses_and_gradients(points, frames, training):
    network = detector().train(training)
    batch = batch_of(points, frames)
    taps = network(network.prepare(batch))
    losses = network.loss(taps, batch)
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    assert all(b.isfinite().all() for b in network.buffers())
    assert len(network.predict(taps)) == frames


def test_objects_without_points_are_learned_all_the_same():
    network = detector(voxel_size=(0.16, 0.16, 0.1))
    batch = replace(tiny_scene(RANGE), points=torch.zeros(0, 5))
    losses = network.loss(network(network.prepare(batch)), batch)
    assert all(value.isfinite() and value > 0 for value in losses.values())


# What must not matter


def settled():
    """A network with running statistics of real scenes, in evaluation mode."""
    network = detector(bn_momentum=0.5)
    with torch.no_grad():
        for seed in range(3):
            network(network.prepare(tiny_scene(RANGE, seed=seed)))
    return network.eval()


def assert_same(taps, others):
    for name, value in taps.items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-4)


def test_the_order_of_points_does_not_matter():
    network, batch = settled(), tiny_scene(RANGE)
    order = torch.randperm(len(batch.points), generator=torch.Generator().manual_seed(0))
    shuffled = replace(batch, points=batch.points[order])
    assert_same(*(network(network.prepare(b)) for b in (batch, shuffled)))


def test_in_evaluation_a_frame_does_not_depend_on_its_neighbours():
    network, batch = settled(), tiny_scene(RANGE, frames=3)
    together = network(network.prepare(batch))
    for i in range(3):
        alone = network(network.prepare(frame_of(batch, i)))
        assert_same({name: value[i : i + 1] for name, value in together.items()}, alone)


def test_the_same_seed_gives_the_same_bits():
    def gradient():
        network, batch = detector(seed=3), tiny_scene(RANGE)
        sum(network.loss(network(network.prepare(batch)), batch).values()).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters()])

    assert torch.equal(gradient(), gradient())


# Learning


def test_learns_one_scene_by_heart():
    network = detector(4, voxel_size=(0.16, 0.16, 0.1), bn_momentum=0.1)
    batch = tiny_scene(RANGE, frames=2, objects=3, seed=1)
    inputs = network.prepare(batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    totals = []
    for _ in range(100):
        loss = sum(network.loss(network(inputs), batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < totals[0] / 30
    found, empty = network.eval().predict(network(inputs))
    assert len(empty.boxes) == 0
    boxes, order = found.boxes.numpy(), np.argsort(found.labels.numpy(), kind="stable")
    assert found.labels[order].tolist() == batch.labels[0].tolist()
    truth = batch.boxes[0].numpy()
    iou = bev_iou(boxes[order][:, BEV_COLUMNS], truth[:, BEV_COLUMNS])
    assert (iou.diagonal() > 0.7).all()
    assert np.abs(boxes[order, 2] - truth[:, 2]).max() < 0.2
    assert np.abs(wrap_angle(boxes[order, 6] - truth[:, 6])).max() < 0.3


# Real frames


@pytest.mark.parametrize("ratio", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_real_frames_on_the_full_grid(shared, ratio):
    dataset = Kitti(root=shared / "kitti")
    torch.manual_seed(0)
    network = Second(dataset.classes, ratio)
    batch = collate([dataset.frame(i) for i in dataset.ids("train")[:2]])
    inputs = network.prepare(batch)
    low, high = (torch.tensor(network.point_range[i : i + 3]) for i in (0, 3))
    inside = ((batch.points[:, 1:4] >= low) & (batch.points[:, 1:4] < high)).all(1)
    assert inputs.counts.sum() == inside.sum()
    taps = network(inputs)
    sum(network.loss(taps, batch).values()).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert len(network.predict(taps)) == 2
