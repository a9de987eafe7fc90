"""CenterPoint as a whole, in both forms: sizes, taps, awkward clouds, one scene by heart."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch
from kdbench.detectors.centerpoint import FORMS, CenterPoint
from kdbench.errors import UsageError
from kdbench.geometry.boxes import wrap_angle
from kdbench.geometry.rotated_iou import BEV_COLUMNS, bev_iou
from kdbench.measure.compression import network_size, parameters
from kdbench.taps import Kind, Rows, missing
from kdbench.training.conformance import tiny_scene

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -10.24, -3.0, 25.6, 10.24, 1.0)  # longer than wide: 40 pillars by 32
SMALL = {"point_range": RANGE, "pillar_size": 0.64, "voxel_size": (0.16, 0.16, 0.16)}
both_forms = pytest.mark.parametrize("form", FORMS)


def detector(form="pillar", ratio=16, seed=0, **options):
    torch.manual_seed(seed)
    return CenterPoint(CLASSES, ratio, form=form, **SMALL | options)


def batch_of(points, frames):
    boxes, labels = torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)
    return Batch([str(i) for i in range(frames)], points, [boxes] * frames, [labels] * frames)


# Size


def conv(inputs, outputs, kernel=9):
    """Weights of a convolution and its norm."""
    return inputs * outputs * kernel + 2 * outputs


def head_weights(neck, width):
    outputs = 3 + 2 + 1 + 3 + 2
    return conv(neck, width) + 5 * conv(width, width) + 9 * width * outputs + outputs


def pillar_weights(root):
    a, b, c, n = (w // root for w in (64, 128, 256, 128))
    backbone = conv(a, a) + 3 * conv(a, a) + conv(a, b) + 5 * conv(b, b)
    backbone += conv(b, c) + 5 * conv(c, c)
    neck = conv(a, n, 1) + conv(b, n, 4) + conv(c, n, 16)
    return conv(9, a, 1) + backbone + neck + head_weights(3 * n, a)


def voxel_weights(root):
    a, b, c, out, w2, n = (w // root for w in (16, 32, 64, 128, 256, 256))
    encoder = conv(4, a, 27) + conv(a, a, 27) + conv(a, b, 27) + 2 * conv(b, b, 27)
    encoder += conv(b, c, 27) + 5 * conv(c, c, 27) + conv(c, out, 3)
    backbone = conv(2 * out, out) + 5 * conv(out, out) + conv(out, w2) + 5 * conv(w2, w2)
    neck = conv(out, n, 1) + conv(w2, n, 4)
    return encoder + backbone + neck + head_weights(2 * n, c)


@pytest.mark.parametrize(
    "form, ratio, count",
    [
        ("pillar", 1, 5_219_723), ("pillar", 4, 1_308_363), ("pillar", 16, 328_811),
        ("voxel", 1, 5_774_987), ("voxel", 4, 1_447_691), ("voxel", 16, 363_899),
    ],
)  # fmt: skip
def test_parameters_are_those_of_a_count_by_hand(form, ratio, count):
    network = CenterPoint(CLASSES, ratio, form=form)
    weights = pillar_weights if form == "pillar" else voxel_weights
    assert parameters(network) == count == weights(math.isqrt(ratio))


def test_macs_of_the_dense_part():
    network = detector(ratio=16)
    stages = network_size(network, [tiny_scene(RANGE, frames=1)])["macs_by_stage"]
    cells = [20 * 16, 10 * 8, 5 * 4]
    layers = [4 * 16 * 16, 16 * 32 + 5 * 32 * 32, 32 * 64 + 5 * 64 * 64]
    assert stages["backbone"] == sum(9 * n * c for n, c in zip(layers, cells, strict=True))
    assert stages["neck"] == cells[0] * 32 * (16 + 32 + 64)
    assert stages["head"] == cells[0] * 9 * (96 * 16 + 5 * 16 * 16 + 16 * 11)


@both_forms
@pytest.mark.parametrize("ratio", [2, 1e6])
def test_any_ratio_gives_a_network_that_works(form, ratio):
    network = detector(form, ratio)
    widths = [max(1, int(w / math.sqrt(ratio))) for w in FORMS[form].widths]
    assert [network.taps[f"backbone.{i}"].channels for i in range(len(widths))] == widths
    batch = tiny_scene(RANGE)
    loss = network.loss(network(network.prepare(batch)), batch)
    assert sum(loss.values()).isfinite()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"form": "pilar"}, "unknown form of centerpoint 'pilar'; did you mean 'pillar'"),
        ({"pillar_size": 0.7}, "centerpoint: the grid .* pillars .* pillar_size"),
        ({"pillar_size": -0.64}, "centerpoint: .* pillar_size above 0"),
        ({"point_range": [0, 1]}, "centerpoint: point_range must be"),
        ({"form": "voxel", "voxel_size": (0.3, 0.16, 0.16)}, "centerpoint: the grid .* voxels"),
        ({"form": "voxel", "voxel_size": (0.16, 0.16)}, "centerpoint: .*voxel_size"),
        ({"ratio": 0.5}, "ratio must be"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        detector(**options)


@pytest.mark.parametrize(
    "form, cells, cell", [("pillar", (432, 496), 0.32), ("voxel", (864, 992), 0.64)]
)
def test_the_grids_of_the_default_options(form, cells, cell):
    network = CenterPoint(CLASSES, 100, form=form)
    grid = network.encoder.grid
    assert (grid.width, grid.height) == cells
    assert network.taps["head.cls"].cell == pytest.approx(cell)
    assert network.point_range == grid.point_range == (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)


# Taps


@both_forms
@pytest.mark.parametrize("ratio", [7, 16])
def test_taps_are_what_their_specs_say(form, ratio):
    network = detector(form, ratio)
    taps = network(network.prepare(tiny_scene(RANGE)))
    assert list(taps) == list(network.taps)
    for name, spec in network.taps.items():
        value = taps[name]
        assert spec.origin == RANGE[:2]
        width, height = (round((RANGE[i + 3] - RANGE[i]) / spec.cell) for i in (0, 1))
        if spec.kind is Kind.ROWS:
            assert isinstance(value, Rows)
            assert value.features.shape == (len(value.counts), spec.channels)
            assert (value.coordinates < torch.tensor([2, height, width])).all()
        elif spec.kind in (Kind.BEV, Kind.COUNTS):
            assert value.shape == (2, spec.channels, height, width)
        else:
            assert value.shape == (2, height, width, 1, spec.channels)


@both_forms
def test_maps_are_their_preacts_after_relu(form):
    network = detector(form)
    taps = network(network.prepare(tiny_scene(RANGE)))
    for i in range(len(FORMS[form].widths)):
        assert torch.equal(taps[f"backbone.{i}"], taps[f"preact.{i}"].relu())
        scale, shift = network.taps[f"preact.{i}"].affine
        assert len(scale) == len(shift) == network.taps[f"preact.{i}"].channels


def test_counts_are_the_points_over_each_cell():
    network, batch = detector("voxel"), tiny_scene(RANGE)
    counts = network(network.prepare(batch))["counts"]
    expected = torch.zeros_like(counts)
    for frame, x, y, z, _ in batch.points.tolist():
        if RANGE[0] <= x < RANGE[3] and RANGE[1] <= y < RANGE[4] and RANGE[2] <= z < RANGE[5]:
            expected[int(frame), 0, int((y + 10.24) / 1.28), int(x / 1.28)] += 1
    assert counts.sum() == expected.sum() > 1000
    assert (counts != expected).float().mean() < 0.01  # rounding at the edges of cells


@both_forms
def test_teacher_and_student_share_their_inputs(form):
    teacher, student = detector(form, 1).eval(), detector(form, 16, seed=1)
    inputs = student.prepare(tiny_scene(RANGE))
    t, s = teacher(inputs), student(inputs)
    assert t["neck"].shape[2:] == s["neck"].shape[2:]
    if form == "pillar":
        assert torch.equal(t["voxel"].coordinates, s["voxel"].coordinates)
    else:
        assert torch.equal(t["counts"], s["counts"])


def test_methods_that_need_directions_or_rows_are_told():
    assert missing(("head.dir", "head.box"), detector().taps) == ["head.dir"]
    assert missing(("voxel",), detector("voxel").taps) == ["voxel"]


# Awkward clouds

AWKWARD = {
    "no points": (torch.zeros(0, 5), 2),
    "no points in range": (torch.tensor([[0, -50.0, 0, 0, 0], [1, 0, 500, 0, 0]]), 2),
    "one point": (torch.tensor([[0, 5.0, 0, -1, 0.5]]), 1),
    "one point, two frames": (torch.tensor([[1, 5.0, 0, -1, 0.5]]), 2),
    "one pillar": (torch.tensor([[0, 5.0, 0, -1, 0.5]]).repeat(9, 1), 1),
}


@both_forms
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("points, frames", AWKWARD.values(), ids=AWKWARD)
def test_awkward_clouds_give_finite_losses_and_gradients(form, points, frames, training):
    network = detector(form).train(training)
    batch = batch_of(points, frames)
    taps = network(network.prepare(batch))
    losses = network.loss(taps, batch)
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    assert all(b.isfinite().all() for b in network.buffers())
    assert len(network.predict(taps)) == frames


@both_forms
def test_objects_without_points_are_learned_all_the_same(form):
    network = detector(form)
    batch = replace(tiny_scene(RANGE), points=torch.zeros(0, 5))
    losses = network.loss(network(network.prepare(batch)), batch)
    assert all(value.isfinite() and value > 0 for value in losses.values())


@both_forms
def test_in_evaluation_a_frame_does_not_depend_on_its_neighbours(form):
    network, batch = detector(form, bn_momentum=0.5), tiny_scene(RANGE, frames=3)
    with torch.no_grad():
        network(network.prepare(batch))  # statistics of a real scene
        network.eval()
        together = network(network.prepare(batch))
        for i in range(3):
            points = batch.points[batch.points[:, 0] == i].clone()
            points[:, 0] = 0
            alone = network(network.prepare(batch_of(points, 1)))
            for name in ("neck", "head.cls", "head.box"):
                torch.testing.assert_close(together[name][i], alone[name][0], rtol=1e-3, atol=1e-4)


# Learning


def learn(network, batch, steps):
    """First and last loss of a training on one batch."""
    inputs = network.prepare(batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    totals = []
    for _ in range(steps):
        loss = sum(network.loss(network(inputs), batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    return totals[0], totals[-1]


@pytest.mark.parametrize("form", ["pillar", pytest.param("voxel", marks=pytest.mark.slow)])
def test_learns_one_scene_by_heart(form):
    network = detector(form, 4, bn_momentum=0.1)
    batch = tiny_scene(RANGE, frames=2, objects=3, seed=1)
    first, last = learn(network, batch, steps=120)
    assert last < first / 10
    found, empty = network.eval().predict(network(network.prepare(batch)))
    assert len(empty.boxes) == 0
    found_labels, best = np.unique(found.labels.numpy(), return_index=True)
    assert found_labels.tolist() == batch.labels[0].tolist() == [0, 1, 2]
    boxes, truth = found.boxes.numpy()[best], batch.boxes[0].numpy()
    iou = bev_iou(boxes[:, BEV_COLUMNS], truth[:, BEV_COLUMNS])
    assert (iou.diagonal() > 0.6).all()
    assert np.abs(boxes[:, 2] - truth[:, 2]).max() < 0.2
    assert np.abs(wrap_angle(boxes[:, 6] - truth[:, 6])).max() < 0.3


@pytest.mark.cuda
@both_forms
def test_a_gpu_gives_what_the_cpu_gives(form):
    network, batch = detector(form).eval(), tiny_scene(RANGE)
    with torch.no_grad():
        here = network(network.prepare(batch))
        network.cuda()
        there = network(network.prepare(batch.to("cuda")))
    for name in ("neck", "head.cls", "head.box"):
        torch.testing.assert_close(there[name].cpu(), here[name], rtol=1e-2, atol=1e-3)
    losses = network.loss(there, batch.to("cuda"))
    assert all(value.isfinite() for value in losses.values())
    assert len(network.predict(there)) == 2
