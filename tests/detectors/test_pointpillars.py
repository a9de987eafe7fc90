"""PointPillars as a whole: sizes, taps, awkward clouds, and learning one scene by heart."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch
from kdbench.detectors.layers.pillar_encoder import decorate
from kdbench.detectors.pointpillars import PointPillars
from kdbench.errors import UsageError
from kdbench.geometry.boxes import wrap_angle
from kdbench.geometry.rotated_iou import BEV_COLUMNS, bev_iou
from kdbench.ops.voxelise import Grid, pillarise
from kdbench.taps import Kind, Rows
from kdbench.training.conformance import tiny_scene

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -10.24, -3.0, 25.6, 10.24, 1.0)  # longer than wide: 40 pillars by 32


def detector(ratio=16, seed=0, **options):
    torch.manual_seed(seed)
    return PointPillars(CLASSES, ratio, **{"point_range": RANGE, "pillar_size": 0.64} | options)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def batch_of(points, frames):
    boxes, labels = torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)
    return Batch([str(i) for i in range(frames)], points, [boxes] * frames, [labels] * frames)


def frame_of(batch, i):
    """Frame `i` of a batch as a batch of its own."""
    points = batch.points[batch.points[:, 0] == i].clone()
    points[:, 0] = 0
    return Batch([batch.ids[i]], points, [batch.boxes[i]], [batch.labels[i]])


# Size


@pytest.mark.parametrize("ratio, count", [(1, 4_834_824), (4, 1_217_320), (16, 308_664)])
def test_the_published_networks_have_their_parameters(ratio, count):
    assert parameters(detector(ratio)) == count


@pytest.mark.parametrize("ratio", [2, 8, 100, 1e6])
def test_any_ratio_divides_the_widths_by_its_root(ratio):
    network = detector(ratio)
    root = math.sqrt(ratio)
    widths = {"voxel": 64, "backbone.0": 64, "backbone.1": 128, "backbone.2": 256}
    for name, published in widths.items():
        assert network.taps[name].channels == max(1, int(published / root))
    assert network.taps["neck"].channels == 3 * max(1, int(128 / root))
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
        {"pillar_size": 0.0},
        {"pillar_size": -0.64},
        {"pillar_size": 0.7},
        {"point_range": [25.6, -10.24, -3, 0, 10.24, 1]},
    ],
)
def test_a_grid_that_cannot_be_is_refused(options):
    with pytest.raises(UsageError, match="point_range.* pillar_size"):
        detector(**options)


def test_the_published_grid_gives_the_published_map():
    network = PointPillars(CLASSES, 100)
    assert network.head.anchors.shape == (248, 216, 6, 7)
    assert network.head.anchors.is_contiguous()


# What a network sees


def test_decorated_points_carry_their_offsets_to_the_mean_and_the_centre():
    grid = Grid(RANGE, (0.64, 0.64))
    pillars = pillarise(tiny_scene(RANGE).points, grid, 2)
    features = decorate(pillars, grid).split(pillars.counts.tolist())
    parts = pillars.points.split(pillars.counts.tolist())
    for (_, y, x), part, feature in zip(pillars.coordinates.tolist(), parts, features, strict=True):
        xyz = part[:, :3]
        centre = torch.tensor([(x + 0.5) * 0.64, -10.24 + (y + 0.5) * 0.64])
        expected = torch.cat([part, xyz - xyz.mean(0), xyz[:, :2] - centre], dim=1)
        torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-5)
        assert (feature[:, 7:].abs() <= 0.32 + 1e-5).all()


def test_a_row_is_the_greatest_of_its_points_each_on_its_own():
    network = detector().eval()
    inputs = network.prepare(tiny_scene(RANGE))
    encoder = network.encoder
    rows = encoder(inputs.features, inputs.pillars.counts)
    points = torch.relu(encoder.norm(encoder.linear(inputs.features)))
    expected = [p.amax(0) for p in points.split(inputs.pillars.counts.tolist())]
    torch.testing.assert_close(rows, torch.stack(expected))


# Taps


@pytest.mark.parametrize("ratio", [1, 7, 16])
def test_taps_are_what_their_specs_say(ratio):
    network = detector(ratio)
    taps = network(network.prepare(tiny_scene(RANGE)))
    assert list(taps) == list(network.taps)
    for name, spec in network.taps.items():
        value = taps[name]
        width, height = (round((RANGE[i + 3] - RANGE[i]) / spec.cell) for i in (0, 1))
        if spec.kind is Kind.ROWS:
            assert isinstance(value, Rows)
            assert value.features.shape == (len(value.counts), spec.channels)
            assert value.coordinates.shape == (len(value.counts), 3)
            assert (value.coordinates < torch.tensor([2, height, width])).all()
        elif spec.kind is Kind.BEV:
            assert value.shape == (2, spec.channels, height, width)
        else:
            assert value.shape == (2, height, width, 6, spec.channels)


def test_teacher_and_student_rows_are_the_same_places():
    teacher, student = detector(1).eval(), detector(16, seed=1)
    inputs = student.prepare(tiny_scene(RANGE))
    rows_t, rows_s = teacher(inputs)["voxel"], student(inputs)["voxel"]
    assert torch.equal(rows_t.coordinates, rows_s.coordinates)
    assert torch.equal(rows_t.counts, rows_s.counts)
    assert rows_t.counts.sum() == len(inputs.features)


def test_a_map_follows_its_pillars():
    network = detector().eval()
    near, far = ([0, x, -5.0, -1, 0.5] for x in (2.0, 23.0))
    maps = [
        network(network.prepare(batch_of(torch.tensor([point]), 1)))["backbone.0"][0]
        for point in (near, far)
    ]
    empty = network(network.prepare(batch_of(torch.zeros(0, 5), 1)))["backbone.0"][0]
    for x, changed in zip((2.0, 23.0), maps, strict=True):
        _, row, column = ((changed - empty).abs() > 1e-6).nonzero().float().mean(0)
        assert (column + 0.5) * 1.28 == pytest.approx(x, abs=2)
        assert (row + 0.5) * 1.28 - 10.24 == pytest.approx(-5, abs=2)


# Awkward clouds

AWKWARD = {
    "no points": (torch.zeros(0, 5), 2),
    "no points in range": (torch.tensor([[0, -50.0, 0, 0, 0], [1, 0, 500, 0, 0]]), 2),
    "one point": (torch.tensor([[0, 5.0, 0, -1, 0.5]]), 1),
    "one point, two frames": (torch.tensor([[1, 5.0, 0, -1, 0.5]]), 2),
    "one point each": (torch.tensor([[0, 5.0, 0, -1, 0.5], [1, 9.0, 2, -1, 0.5]]), 2),
    "one pillar": (torch.tensor([[0, 5.0, 0, -1, 0.5]]).repeat(9, 1), 1),
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
    network = detector()
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
        if not isinstance(value, Rows):
            torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-4)


def test_the_order_of_points_does_not_matter():
    network, batch = settled(), tiny_scene(RANGE)
    order = torch.randperm(len(batch.points), generator=torch.Generator().manual_seed(0))
    shuffled = replace(batch, points=batch.points[order])
    taps, others = (network(network.prepare(b)) for b in (batch, shuffled))
    torch.testing.assert_close(taps["voxel"].features, others["voxel"].features)
    assert torch.equal(taps["voxel"].coordinates, others["voxel"].coordinates)
    assert_same(taps, others)


def test_in_evaluation_a_frame_does_not_depend_on_its_neighbours():
    network, batch = settled(), tiny_scene(RANGE, frames=3)
    together = network(network.prepare(batch))
    for i in range(3):
        alone = network(network.prepare(frame_of(batch, i)))
        mine = together["voxel"].coordinates[:, 0] == i
        torch.testing.assert_close(together["voxel"].features[mine], alone["voxel"].features)
        assert_same(
            {n: v if isinstance(v, Rows) else v[i : i + 1] for n, v in together.items()}, alone
        )


# Learning


def test_learns_one_scene_by_heart():
    network = detector(4, bn_momentum=0.1)
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
