"""PointRCNN as a whole: sizes, taps, awkward clouds, both stages, and learning one scene."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch
from kdbench.detectors.pointrcnn import PointRCNN
from kdbench.errors import UsageError
from kdbench.geometry.boxes import points_in_boxes
from kdbench.geometry.rotated_iou import iou_3d
from kdbench.measure.compression import network_size
from kdbench.measure.inputs import generated
from kdbench.ops.macs import MacCounter
from kdbench.taps import Kind, Rows
from kdbench.training.conformance import tiny_scene
from kdbench.training.loop import in_float32

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -10.24, -3.0, 25.6, 10.24, 1.0)
SMALL = {
    "point_range": RANGE, "points": 512, "roi_points": 32, "rois": 8,
    "proposals_train": 32, "proposals_test": 8,
}  # fmt: skip
CODERS = ("bins", "residuals")


def detector(ratio=64, seed=0, **options):
    torch.manual_seed(seed)
    return PointRCNN(CLASSES, ratio, **SMALL | options)


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


@pytest.mark.parametrize(
    "coder, ratio, count",
    [
        ("residuals", 1, 4_039_203),
        ("residuals", 8, 516_643),
        ("residuals", 16, 258_567),
        ("bins", 1, 4_066_702),
        ("bins", 8, 526_487),
        ("bins", 16, 265_522),
    ],
)
def test_the_published_networks_have_their_parameters(coder, ratio, count):
    assert parameters(detector(ratio, coder=coder, roi_coder=coder)) == count


@pytest.mark.parametrize("ratio, macs", [(1, 0.1695e9), (8, 0.0213e9), (16, 0.0108e9)])
def test_a_proposal_costs_the_published_macs(ratio, macs):
    network = detector(ratio, coder="residuals", roi_coder="residuals").eval()
    with MacCounter() as counter, torch.no_grad():
        network.rcnn(torch.rand(2, 512, 5), torch.rand(2, 512, network.backbone.channels))
    assert counter.macs / 2 == pytest.approx(macs, rel=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("ratio, macs", [(1, 10.05e9), (8, 1.28e9), (16, 0.64e9)])
def test_the_first_stage_costs_the_published_macs(ratio, macs):
    network = PointRCNN(CLASSES, ratio, coder="residuals", roi_coder="residuals")
    stages = network_size(network, generated(network.point_range, 1).batches)["macs_by_stage"]
    assert stages["backbone"] + stages["head"] == pytest.approx(macs, rel=1e-2)


@pytest.mark.parametrize("ratio", [2, 7, 1e6])
def test_any_ratio_makes_a_network_that_learns(ratio):
    network = detector(ratio)
    losses = network.loss(network(network.prepare(batch := tiny_scene(RANGE))), batch)
    assert sum(losses.values()).isfinite()


@pytest.mark.parametrize(
    "options",
    [
        {"point_range": [0, 1]},
        {"point_range": [25.6, -10.24, -3, 0, 10.24, 1]},
        {"points": 255},
        {"coder": "anchors"},
        {"roi_coder": "anchors"},
        {"proposals_test": 0},
        {"rois": 0},
        {"roi_points": 0},
        {"roi_centres": (32,)},
        {"roi_centres": (32, 0)},
    ],
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(UsageError, match=f"pointrcnn: .*{next(iter(options)).split('_')[0]}"):
        detector(**options)


# Taps


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_taps_are_what_their_specs_say(coder, training):
    network = detector(coder=coder, roi_coder=coder).train(training)
    taps = network(network.prepare(tiny_scene(RANGE)))
    assert [name for name in taps if not name.startswith("_")] == list(network.taps)
    for name, spec in network.taps.items():
        if spec.kind is Kind.POINTS:
            assert isinstance(taps[name], Rows)
            assert taps[name].features.shape == (2 * 512, spec.channels)
        elif spec.kind is Kind.JUDGE:
            assert [len(s) for s in taps[name]([torch.rand(m, 7) for m in (3, 0)])] == [3, 0]
        else:
            assert taps[name].shape == (2, 512, 1, 1, spec.channels)


def test_points_of_the_tap_are_the_clouds():
    network, batch = detector(), tiny_scene(RANGE)
    rows = network(network.prepare(batch))["points"]
    assert torch.equal(rows.coordinates[:, 0], torch.arange(2).repeat_interleave(512))
    assert torch.equal(rows.coordinates[:, 2], torch.arange(512).repeat(2))
    assert (rows.coordinates[:, 1] == 0).all() and (rows.counts == 1).all()
    for frame in range(2):
        known = {tuple(p) for p in frame_of(batch, frame).points[:, 1:4].tolist()}
        mine = rows.positions[rows.coordinates[:, 0] == frame]
        assert {tuple(p) for p in mine.tolist()} <= known


def test_teacher_and_student_points_are_the_same_places():
    teacher, student = detector(16).eval(), detector(64, seed=1)
    inputs = student.prepare(tiny_scene(RANGE))
    rows_t, rows_s = teacher(inputs)["points"], student(inputs)["points"]
    assert torch.equal(rows_t.positions, rows_s.positions)
    assert torch.equal(rows_t.coordinates, rows_s.coordinates)


def test_half_precision_taps_become_float32_all_the_way_down():
    network, batch = detector(), tiny_scene(RANGE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        taps = network(network.prepare(batch))
    assert taps["_refinement"].cls.dtype == torch.bfloat16
    taps = in_float32(taps)
    assert taps["_refinement"].cls.dtype == taps["points"].features.dtype == torch.float32
    assert taps["_refinement"].filled.dtype == torch.bool
    assert all(value.isfinite() for value in network.loss(taps, batch).values())


# Awkward clouds

AWKWARD = {
    "no points": (torch.zeros(0, 5), 2),
    "no points in range": (torch.tensor([[0, -50.0, 0, 0, 0], [1, 0, 500, 0, 0]]), 2),
    "one point": (torch.tensor([[0, 5.0, 0, -1, 0.5]]), 1),
    "one point, two frames": (torch.tensor([[1, 5.0, 0, -1, 0.5]]), 2),
    "one place": (torch.tensor([[0, 5.0, 0, -1, 0.5]]).repeat(999, 1), 1),
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
    found = network.predict(taps)
    assert len(found) == frames
    assert all(d.boxes.isfinite().all() and d.boxes.shape[1] == 7 for d in found)


def test_nothing_is_found_where_nothing_is():
    network = detector(score_threshold=0.0).eval()
    empty = network.predict(network(network.prepare(batch_of(torch.zeros(0, 5), 2))))
    assert [len(d.boxes) for d in empty] == [0, 0]


def test_objects_without_points_do_no_harm():
    network = detector()
    batch = replace(tiny_scene(RANGE), points=torch.zeros(0, 5))
    losses = network.loss(network(network.prepare(batch)), batch)
    assert [float(x.detach()) for x in losses.values()] == [0.0] * 4


# Two stages


def test_the_second_stage_sends_no_gradient_into_the_first():
    network, batch = detector(), tiny_scene(RANGE)
    losses = network.loss(network(network.prepare(batch)), batch)
    (losses["roi_cls"] + losses["roi_box"]).backward()
    assert all(
        p.grad is None for part in (network.backbone, network.head) for p in part.parameters()
    )
    assert any(p.grad.abs().sum() > 0 for p in network.rcnn.parameters())


def test_training_and_evaluation_have_their_numbers_of_proposals():
    network, inputs = detector(), detector().prepare(tiny_scene(RANGE))
    assert torch.bincount(network(inputs)["_refinement"].rois.frame).tolist() == [8, 8]
    network.eval()
    network.proposals = (512, 32, 5)
    assert torch.bincount(network(inputs)["_refinement"].rois.frame).tolist() == [5, 5]


def test_labels_changed_after_preparing_are_those_that_are_learned():
    network, batch = detector(), tiny_scene(RANGE)
    taps = network(network.prepare(batch))
    rois = taps["_refinement"].rois
    rois.boxes[0], rois.labels[0] = batch.boxes[0][0], batch.labels[0][0]  # one that fits
    before = network.loss(taps, batch)
    none = [x[:0] for x in batch.labels]
    after = network.loss(taps, replace(batch, boxes=[b[:0] for b in batch.boxes], labels=none))
    assert before["point_box"] > 0 and before["roi_box"] > 0
    assert after["point_box"] == after["roi_box"] == 0
    assert after["roi_cls"] != before["roi_cls"]


def test_fused_scores_are_the_geometric_mean_of_both_stages():
    options = {"score_threshold": 0.0, "nms_threshold": 1.0}
    network = detector(**options).eval()
    taps = network(network.prepare(tiny_scene(RANGE)))
    refined = taps["_refinement"]
    second = refined.cls.sigmoid()
    fused = (second * refined.rois.scores).sqrt()
    for chosen, expected in ((False, second), (True, fused)):
        network.fused_scores = chosen
        found = torch.cat([d.scores for d in network.predict(taps)])
        assert len(found) > 10
        assert torch.isin(found, expected[refined.filled]).all()


def test_two_trainings_of_one_seed_are_equal_to_the_bit():
    batch = tiny_scene(RANGE)

    def three_steps():
        network = detector()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            loss = sum(network.loss(network(network.prepare(batch)), batch).values())
            loss.backward()
            optimizer.step()
        return loss.item(), torch.cat([p.flatten() for p in network.parameters()])

    (first, weights), (second, same) = three_steps(), three_steps()
    assert first == second and torch.equal(weights, same)


def test_random_draws_outside_do_not_matter():
    batch = tiny_scene(RANGE)
    network = detector()
    torch.manual_seed(1)
    first = network(network.prepare(batch))["_refinement"].rois.boxes
    network = detector()
    torch.manual_seed(2)
    assert torch.equal(network(network.prepare(batch))["_refinement"].rois.boxes, first)


def settled():
    """A network with running statistics of real scenes, in evaluation mode."""
    network = detector(bn_momentum=0.5, score_threshold=0.0)
    with torch.no_grad():
        for seed in range(3):
            network(network.prepare(tiny_scene(RANGE, seed=seed)))
    return network.eval()


def test_in_evaluation_a_frame_does_not_depend_on_its_neighbours():
    network, batch = settled(), tiny_scene(RANGE, frames=3)
    together = network(network.prepare(batch))
    for i in range(3):
        alone = network(network.prepare(frame_of(batch, i)))
        mine = together["points"].coordinates[:, 0] == i
        torch.testing.assert_close(
            together["points"].features[mine], alone["points"].features, rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(
            together["head.cls"][i], alone["head.cls"][0], rtol=1e-3, atol=1e-4
        )


# Learning


@pytest.mark.parametrize("coder", CODERS)
def test_learns_one_scene_by_heart(coder):
    more = {"rois": 32, "roi_points": 64, "proposals_train": 64, "proposals_test": 32}
    network = detector(16, coder=coder, roi_coder=coder, bn_momentum=0.1, **more)
    batch = tiny_scene(RANGE, frames=2, objects=3, seed=1)
    inputs = network.prepare(batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    totals = []
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 150)
        loss = sum(network.loss(network(inputs), batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < totals[0] / 4
    found, empty = network.eval().predict(network(inputs))
    assert (empty.scores < 0.5).all()
    sure = found.scores > 0.5
    boxes, labels = found.boxes[sure].numpy(), found.labels[sure].numpy()
    order = np.argsort(labels, kind="stable")
    assert labels[order].tolist() == batch.labels[0].tolist()
    truth = batch.boxes[0].numpy()
    assert (iou_3d(boxes[order], truth).diagonal() > 0.5).all()
    assert points_in_boxes(truth[:, :3], boxes[order]).diagonal().all()


@pytest.mark.cuda
def test_a_gpu_gives_the_same_losses():
    batch = tiny_scene(RANGE)
    losses = []
    for device in ("cpu", "cuda"):
        network, there = detector().to(device).eval(), batch.to(device)
        losses.append(network.loss(network(network.prepare(there)), there))
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name].cpu(), value, rtol=1e-3, atol=1e-4)
