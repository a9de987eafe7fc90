"""What is PointRCNN's own: sizes, its points, both stages, and learning one scene by heart."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from kdbench.detectors.pointrcnn import PointRCNN
from kdbench.errors import UsageError
from kdbench.geometry.boxes import points_in_boxes
from kdbench.geometry.rotated_iou import iou_3d
from kdbench.measure.compression import network_size, parameters
from kdbench.measure.inputs import generated
from kdbench.ops.macs import MacCounter
from kdbench.training.conformance import tiny_scene
from kdbench.training.loop import in_float32
from tests.detectors.forms import CLASSES, RANGE, batch_of, build, frame_of, learn

detector = partial(build, "pointrcnn")
CODERS = ("bins", "residuals")


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


def test_random_draws_outside_do_not_matter():
    batch = tiny_scene(RANGE)
    network = detector()
    torch.manual_seed(1)
    first = network(network.prepare(batch))["_refinement"].rois.boxes
    network = detector()
    torch.manual_seed(2)
    assert torch.equal(network(network.prepare(batch))["_refinement"].rois.boxes, first)


# Learning


@pytest.mark.parametrize("coder", CODERS)
def test_learns_one_scene_by_heart(coder):
    more = {"rois": 32, "roi_points": 64, "proposals_train": 64, "proposals_test": 32}
    network = detector(16, coder=coder, roi_coder=coder, bn_momentum=0.1, **more)
    batch = tiny_scene(RANGE, frames=2, objects=3, seed=1)
    assert learn(network, batch, steps=150, rate=5e-3) > 4
    found, empty = network.eval().predict(network(network.prepare(batch)))
    assert (empty.scores < 0.5).all()
    sure = found.scores > 0.5
    boxes, labels = found.boxes[sure].numpy(), found.labels[sure].numpy()
    order = np.argsort(labels, kind="stable")
    assert labels[order].tolist() == batch.labels[0].tolist()
    truth = batch.boxes[0].numpy()
    assert (iou_3d(boxes[order], truth).diagonal() > 0.5).all()
    assert points_in_boxes(truth[:, :3], boxes[order]).diagonal().all()
