"""What holds for every detector as a whole: sizes, taps, awkward clouds, learning one scene."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.geometry.boxes import wrap_angle
from kdbench.geometry.rotated_iou import BEV_COLUMNS, bev_iou
from kdbench.taps import Kind, Rows
from kdbench.training.conformance import tiny_scene
from tests.detectors.forms import (
    CLASSES,
    FORMS,
    RANGE,
    WITH_MAPS,
    batch_of,
    build,
    frame_of,
    learn,
    settled,
)

every_form = pytest.mark.parametrize("form", FORMS)
every_map = pytest.mark.parametrize("form", WITH_MAPS)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def losses_of(network, batch):
    return network.loss(network(network.prepare(batch)), batch)


def assert_close(value, other):
    """Two values of a tap are the same to rounding, their rows the same places."""
    if isinstance(value, Rows):
        assert torch.equal(value.coordinates[:, 1:], other.coordinates[:, 1:])
        value, other = value.features, other.features
    torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-4)


# Size

# Published widths of a tap's layers, side by side. PointRCNN rounds its own way.
WIDTHS = {
    "pointpillars": {"voxel": [64], "backbone.0": [64], "backbone.1": [128], "backbone.2": [256],
                     "neck": [128] * 3},
    "second": {"backbone.0": [128], "backbone.1": [256], "neck": [256] * 2},
    "centerpoint-pillar": {"voxel": [64], "backbone.0": [64], "backbone.1": [128],
                           "backbone.2": [256], "neck": [128] * 3},
    "centerpoint-voxel": {"backbone.0": [128], "backbone.1": [256], "neck": [256] * 2},
    "pointrcnn": {},
}  # fmt: skip


@every_form
@pytest.mark.parametrize("ratio", [2, 7, 100, 1e6])
def test_any_ratio_divides_the_widths_by_its_root_and_works(form, ratio):
    network = build(form, ratio)
    for name, published in WIDTHS[form].items():
        widths = [max(1, int(width / math.sqrt(ratio))) for width in published]
        assert network.taps[name].channels == sum(widths)
    assert sum(losses_of(network, tiny_scene(RANGE)).values()).isfinite()


@every_form
@pytest.mark.parametrize("ratio", [0.5, 0, -4, float("nan")])
def test_a_ratio_below_one_is_refused(form, ratio):
    with pytest.raises(UsageError, match="ratio must be"):
        build(form, ratio)


# Taps


@every_form
@both_modes
@pytest.mark.parametrize("ratio", [1, 7, 16])
def test_taps_are_what_their_specs_say(form, ratio, training):
    network = build(form, ratio).train(training)
    check_taps(network, anchors=6 if form in ("pointpillars", "second") else 1)


@both_modes
def test_taps_of_boxes_as_residuals_are_what_their_specs_say(training):
    network = build("pointrcnn", coder="residuals", roi_coder="residuals")
    check_taps(network.train(training), anchors=1)


def check_taps(network, anchors):
    taps = network(network.prepare(tiny_scene(RANGE)))
    assert [name for name in taps if not name.startswith("_")] == list(network.taps)
    for name, spec in network.taps.items():
        value = taps[name]
        width, height = 1, 512  # of a detector of points
        if spec.cell:
            assert spec.origin == RANGE[:2]
            width, height = (round((RANGE[i + 3] - RANGE[i]) / spec.cell) for i in (0, 1))
        if isinstance(value, Rows):
            rows = len(value.counts)
            assert spec.kind in (Kind.ROWS, Kind.POINTS)
            assert spec.kind is Kind.ROWS or rows == 2 * height
            assert value.features.shape == (rows, spec.channels)
            assert value.coordinates.shape == (rows, 3)
            if spec.kind is Kind.ROWS:
                assert (value.coordinates < torch.tensor([2, height, width])).all()
        elif spec.kind is Kind.JUDGE:
            assert [len(s) for s in value([torch.rand(m, 7) for m in (3, 0)])] == [3, 0]
        elif spec.kind in (Kind.BEV, Kind.COUNTS):
            assert value.shape == (2, spec.channels, height, width)
        else:
            assert value.shape == (2, height, width, anchors, spec.channels)


@every_map
def test_maps_are_their_preactivations_after_relu(form):
    network = build(form)
    taps = network(network.prepare(tiny_scene(RANGE)))
    maps = [name for name in taps if name.startswith("backbone")]
    assert len(maps) >= 2
    for name in maps:
        before = name.replace("backbone", "preact")
        assert torch.equal(taps[name], taps[before].relu())
        assert taps[before].min() < 0
        scale, shift = network.taps[before].affine
        assert len(scale) == len(shift) == network.taps[before].channels


@pytest.mark.parametrize("form", ["second", "centerpoint-voxel"])
def test_counts_are_the_points_over_each_cell_of_the_first_stage(form):
    network, points = build(form), tiny_scene(RANGE, frames=3).points
    points = torch.cat([points, torch.tensor([[0, -1.0, 0, 0, 0], [1, 3, 3, 9, 0]])])  # outside
    taps, cell = network(network.prepare(batch_of(points, 3))), network.taps["counts"].cell
    low, high = (np.float32(RANGE[i : i + 3]) for i in (0, 3))
    inside = points[((points[:, 1:4].numpy() >= low) & (points[:, 1:4].numpy() < high)).all(1)]
    expected = torch.zeros(3, 1, *taps["backbone.0"].shape[2:])
    for frame, x, y, *_ in inside.tolist():
        expected[int(frame), 0, int((y + 10.24) / cell), int(x / cell)] += 1
    assert torch.equal(taps["counts"], expected)
    assert expected.sum() > 1000


@every_form
def test_teacher_and_student_share_their_input(form):
    teacher, student = build(form, 1).eval(), build(form, seed=1).eval()
    alone = student(student.prepare(tiny_scene(RANGE)))
    inputs = student.prepare(tiny_scene(RANGE))
    of_teacher, of_student = teacher(inputs), student(inputs)
    for name, spec in student.taps.items():
        here, there = of_student[name], of_teacher[name]
        if isinstance(here, Rows):
            for part in ("coordinates", "counts"):
                assert torch.equal(getattr(here, part), getattr(there, part))
            assert here.positions is None or torch.equal(here.positions, there.positions)
            assert torch.equal(here.features, alone[name].features)
            continue
        if spec.kind is Kind.JUDGE:
            continue
        assert torch.equal(here, alone[name])
        assert spec.kind is not Kind.COUNTS or torch.equal(here, there)
        if spec.kind is Kind.BEV:
            assert here.shape[2:] == there.shape[2:]


# Awkward clouds

POINT = [0, 5.0, 0, -1, 0.5]
AWKWARD = {
    "no points": (torch.zeros(0, 5), 2),
    "no points in range": (torch.tensor([[0, -50.0, 0, 0, 0], [1, 0, 500, 0, 0]]), 2),
    "one point": (torch.tensor([POINT]), 1),
    "one point, two frames": (torch.tensor([[1, 5.0, 0, -1, 0.5]]), 2),
    "one point each": (torch.tensor([POINT, [1, 9.0, 2, -1, 0.5]]), 2),
    "one cell": (torch.tensor([POINT]).repeat(9, 1), 1),
    "one place": (torch.tensor([POINT]).repeat(999, 1), 1),
    "corners": (torch.tensor([[0, 0.0, -10.24, -3, 0], [0, 25.599, 10.239, 0.999, 0]]), 1),
}


@every_form
@both_modes
@pytest.mark.parametrize("points, frames", AWKWARD.values(), ids=AWKWARD)
def test_awkward_clouds_give_finite_losses_and_gradients(form, points, frames, training):
    network = build(form).train(training)
    batch = batch_of(points, frames)
    taps = network(network.prepare(batch))
    losses = network.loss(taps, batch)
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    assert all(b.isfinite().all() for b in network.buffers())
    found = network.predict(taps)
    assert len(found) == frames
    assert all(d.boxes.isfinite().all() and d.boxes.shape[1] == 7 for d in found)


@every_map
def test_objects_without_points_are_learned_all_the_same(form):
    smaller = {"voxel_size": (0.16, 0.16, 0.1)} if form == "second" else {}
    batch = replace(tiny_scene(RANGE), points=torch.zeros(0, 5))
    losses = losses_of(build(form, **smaller), batch)
    assert all(value.isfinite() and value > 0 for value in losses.values())


# What must not matter


@every_map
def test_the_order_of_points_does_not_matter(form):
    network, batch = settled(form), tiny_scene(RANGE)
    order = torch.randperm(len(batch.points), generator=torch.Generator().manual_seed(0))
    taps, others = (
        network(network.prepare(replace(batch, points=points)))
        for points in (batch.points, batch.points[order])
    )
    for name in network.taps:
        assert_close(taps[name], others[name])


@every_form
def test_in_evaluation_a_frame_does_not_depend_on_its_neighbours(form):
    network, batch = settled(form), tiny_scene(RANGE, frames=3)
    together = network(network.prepare(batch))
    for i in range(3):
        alone = network(network.prepare(frame_of(batch, i)))
        for name, spec in network.taps.items():
            value = together[name]
            if spec.kind is Kind.JUDGE:
                torch.testing.assert_close(
                    value(batch.boxes)[i], *alone[name](batch.boxes[i : i + 1])
                )
                continue
            mine = value.coordinates[:, 0] == i if isinstance(value, Rows) else slice(i, i + 1)
            assert_close(value[mine], alone[name])


@every_form
def test_two_trainings_of_one_seed_are_equal_to_the_bit(form):
    def three_steps():
        network, batch = build(form, seed=3), tiny_scene(RANGE)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            loss = sum(losses_of(network, batch).values())
            loss.backward()
            optimizer.step()
        gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
        return loss, gradient, torch.cat([p.flatten() for p in network.parameters()])

    assert all(torch.equal(*pair) for pair in zip(three_steps(), three_steps(), strict=True))


# Learning

# Options; by how much the loss falls; the least overlap seen from above.
LESSONS = {
    "pointpillars": ({}, 30, 0.7),
    "second": ({"voxel_size": (0.16, 0.16, 0.1)}, 30, 0.7),
    "centerpoint-pillar": ({}, 10, 0.6),
    "centerpoint-voxel": ({"score_threshold": 0.3}, 10, 0.6),
}  # PointRCNN, whose two stages learn from one another, has a test of its own


@pytest.mark.parametrize(
    "form",
    [pytest.param(f, marks=pytest.mark.slow if f == "centerpoint-voxel" else ()) for f in LESSONS],
)
def test_learns_one_scene_by_heart(form):
    options, fall, overlap = LESSONS[form]
    network = build(form, 4, bn_momentum=0.1, **options)
    batch = tiny_scene(RANGE, frames=2, objects=len(CLASSES), seed=1)
    assert learn(network, batch, steps=120) > fall
    found, empty = network.eval().predict(network(network.prepare(batch)))
    assert len(empty.boxes) == 0
    order = found.labels.argsort(stable=True)
    assert found.labels[order].tolist() == batch.labels[0].tolist() == [0, 1, 2]
    boxes, truth = found.boxes[order].numpy(), batch.boxes[0].numpy()
    iou = bev_iou(boxes[:, BEV_COLUMNS], truth[:, BEV_COLUMNS])
    assert (iou.diagonal() > overlap).all()
    assert np.abs(boxes[:, 2] - truth[:, 2]).max() < 0.2
    assert np.abs(wrap_angle(boxes[:, 6] - truth[:, 6])).max() < 0.3


@pytest.mark.cuda
@every_form
def test_a_gpu_gives_what_the_cpu_gives(form):
    batch = tiny_scene(RANGE)
    network, there = build(form).eval(), batch.to("cuda")
    with torch.no_grad():
        taps = network(network.prepare(batch))
        losses = network.loss(taps, batch)
        network.cuda()
        taps_there = network(network.prepare(there))
        losses_there = network.loss(taps_there, there)
    for name in ("neck", "head.cls", "head.box"):
        if name in network.taps:
            torch.testing.assert_close(taps_there[name].cpu(), taps[name], rtol=1e-2, atol=1e-3)
    for name, value in losses.items():
        torch.testing.assert_close(losses_there[name].cpu(), value, rtol=1e-3, atol=1e-4)
    assert len(network.predict(taps_there)) == 2
