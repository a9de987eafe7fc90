"""PointRCNN's heads: which points learn what, and what the second stage sees and is told."""

import math

import pytest
import torch

from kdbench.classes import ObjectClass
from kdbench.dataset import Batch
from kdbench.detectors.layers import point_head, rcnn_head
from kdbench.detectors.layers.anchors import BACKGROUND, IGNORED
from kdbench.detectors.layers.bin_coder import BinCoder
from kdbench.detectors.layers.point_head import PointHead, assign
from kdbench.detectors.layers.rcnn_head import RefinementHead
from kdbench.detectors.layers.residual_coder import ResidualCoder
from kdbench.detectors.layers.roi_sampling import Rois
from kdbench.errors import UsageError

CLASSES = ("Car", "Pedestrian", "Cyclist")
BOX = torch.tensor([[10.0, 2.0, -1.0, 4.0, 2.0, 1.5, math.pi / 2]])  # 4 m along y


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch_of(*frames):
    boxes, labels = (list(x) for x in zip(*frames, strict=True))
    return Batch([str(i) for i in range(len(frames))], torch.zeros(0, 5), boxes, labels)


# First stage


@pytest.mark.parametrize(
    "y, expected",
    [(2.0, 0), (3.9, 0), (4.1, IGNORED), (4.19, IGNORED), (4.3, BACKGROUND), (20, BACKGROUND)],
)
def test_points_beside_a_box_are_neither_object_nor_background(y, expected):
    assert assign(torch.tensor([[10.0, y, -1.0]]), BOX).tolist() == [expected]


def test_a_point_beside_one_box_but_in_another_is_in_the_other():
    boxes = torch.cat([BOX, BOX + torch.tensor([0, 4.0, 0, 0, 0, 0, 0])])
    assert assign(torch.tensor([[10.0, 4.1, -1.0]]), boxes).tolist() == [1]


def test_without_boxes_all_is_background():
    assert assign(draw(4, 3), torch.zeros(0, 7)).tolist() == [BACKGROUND] * 4


def head():
    torch.manual_seed(0)
    return PointHead(8, [16, 16], CLASSES, BinCoder(3.0, 0.5, 12), 0.1)


def test_the_first_stage_starts_at_the_prior_of_the_focal_loss():
    network = head()
    network.cls[-1].weight.data.zero_()
    cls, _ = network(draw(2, 5, 8))
    torch.testing.assert_close(cls.sigmoid(), torch.full((2, 5, 3), 0.01))


def test_boxes_stand_where_their_points_are_and_have_the_size_of_their_class():
    network, xyz = head(), draw(1, 3, 3)
    codes = torch.zeros(1, 3, 76)
    boxes, scores, labels = network.boxes(torch.eye(3)[None] * 4, codes, xyz)
    assert labels.tolist() == [[0, 1, 2]]
    torch.testing.assert_close(scores, torch.full((1, 3), 4.0).sigmoid())
    torch.testing.assert_close(boxes[0, :, 3:6], network.sizes)
    torch.testing.assert_close(boxes[0, :, 2], xyz[0, :, 2])
    torch.testing.assert_close(boxes[0, :, :2], xyz[0, :, :2] - 2.75)  # of equal bins the first


def first_stage_loss(xyz, filled, batch, seed=0):
    cls, codes = draw(*xyz.shape[:2], 3, seed=seed), draw(*xyz.shape[:2], 76, seed=seed + 1)
    return head().loss(cls, codes, xyz, torch.tensor(filled), batch)


def test_losses_are_by_foreground_point():
    """Each point twice: twice the loss, twice the foreground points."""
    xyz = torch.cat([BOX[:, None, :3] + 0.3 * draw(1, 6, 3), 30 + draw(1, 9, 3)], dim=1)
    batch = batch_of((BOX, torch.tensor([0])))
    once = head()
    cls, codes = draw(1, 15, 3), draw(1, 15, 76, seed=1)
    one = once.loss(cls, codes, xyz, torch.tensor([True]), batch)
    two = once.loss(*(x.repeat(1, 2, 1) for x in (cls, codes, xyz)), torch.tensor([True]), batch)
    for name, value in one.items():
        assert value > 0
        torch.testing.assert_close(two[name], value)


def test_frames_without_points_do_not_count():
    xyz = 10 + draw(2, 5, 3)
    labelled = BOX, torch.tensor([0])
    loss = first_stage_loss(xyz, [False, False], batch_of(labelled, labelled))
    assert [float(x) for x in loss.values()] == [0.0, 0.0]


def test_a_class_without_a_mean_size_is_refused():
    with pytest.raises(UsageError, match="no KITTI class 'Tram'"):
        point_head.mean_sizes(("Car", "Tram"))
    with pytest.raises(UsageError, match="class 'Tram' has no size"):
        point_head.mean_sizes(("Car", ObjectClass("Tram")))


# Second stage


def test_a_roi_sees_its_points_in_its_own_frame():
    xyz = torch.tensor([[[0.0, 0, 0], [50, 0, 0]], [[10.0, 3.5, -1], [0, 0, 0]]])
    rows, scores = draw(2, 2, 4), torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    rois = Rois(BOX, torch.tensor([0]), torch.ones(1), torch.tensor([1]))
    local, features, filled = rcnn_head.pool(rois, xyz, rows, scores, 2)
    distance = xyz[1, 0].norm().item() / 70 - 0.5
    expected = torch.tensor([1.5, 0, 0, 0.3, distance])  # ahead of the centre, along its length
    torch.testing.assert_close(local, expected.expand(1, 2, 5), atol=1e-5, rtol=0)
    assert torch.equal(features, rows[1, 0].expand(1, 2, 4))
    assert filled.tolist() == [True]


@pytest.mark.parametrize("beside, expected", [(0.9, True), (1.1, False)])
def test_a_roi_sees_one_metre_around(beside, expected):
    xyz = torch.tensor([[[10.0 + 1 + beside, 2, -1]]])
    rois = Rois(BOX, torch.tensor([0]), torch.ones(1), torch.tensor([0]))
    local, features, filled = rcnn_head.pool(rois, xyz, draw(1, 1, 4), torch.ones(1, 1), 8)
    assert filled.tolist() == [expected]
    assert bool(local.any()) == bool(features.any()) == expected


def refinement():
    torch.manual_seed(0)
    coder = BinCoder(1.5, 0.5, 9, turn=math.pi / 2)
    return RefinementHead(6, lambda w: max(1, w // 16), coder, 0.1)


@pytest.mark.parametrize("rois", [0, 1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_any_number_of_rois_has_outputs_and_gradients(rois, training):
    network = refinement().train(training)
    cls, codes = network(draw(rois, 16, 5), draw(rois, 16, 6))
    assert cls.shape == (rois,) and codes.shape == (rois, 46)
    (cls.sum() + codes.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    assert all(b.isfinite().all() for b in network.buffers())


def test_a_roi_does_not_depend_on_the_others():
    network = refinement().eval()
    local, rows = draw(3, 16, 5), draw(3, 16, 6, seed=1)
    together = network(local, rows)
    for i in range(3):
        alone = network(local[i : i + 1], rows[i : i + 1])
        for one, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_[i])


def released():
    torch.manual_seed(0)
    coder = ResidualCoder(full_turn=False)
    return RefinementHead(6, lambda w: max(1, w // 16), coder, 0.1, released=True)


@pytest.mark.parametrize("iou, target", [(0.9, 1.0), (0.7, 1.0), (0.475, 0.5), (0.1, 0.0)])
def test_the_release_grades_scores_by_overlap(iou, target):
    local = torch.tensor([[0.3, 0, 0, 4, 1.6, 1.5, 0.0]])
    arguments = local[:, 3:6], torch.tensor([iou]), torch.tensor([True])
    loss = released().loss(torch.tensor([1.0]), torch.zeros(1, 7), local, *arguments)
    expected = target * math.log1p(math.exp(-1)) + (1 - target) * math.log1p(math.e)
    assert float(loss["roi_cls"]) == pytest.approx(expected)
    moved = 0.3**2 / 2 if iou >= 0.55 else 0.0  # all corners by 0.3 m
    assert float(loss["roi_corners"]) == pytest.approx(moved)


def roi_losses(iou, filled=True, cls=0.0):
    codes, local = torch.zeros(1, 46), torch.tensor([[0.3, 0, 0, 4, 1.6, 1.5, 0.1]])
    arguments = torch.tensor([iou]), torch.tensor([filled])
    loss = refinement().loss(torch.tensor([cls]), codes, local, local[:, 3:6], *arguments)
    return [float(x) for x in loss.values()]


@pytest.mark.parametrize(
    "iou, target, refined",
    [(0.7, 1, True), (0.57, None, True), (0.5, None, False), (0.4, 0, False), (0.0, 0, False)],
)
def test_what_a_roi_learns_depends_on_its_overlap(iou, target, refined):
    cls, box = roi_losses(iou, cls=1.0)
    expected = {1: math.log1p(math.exp(-1)), 0: math.log1p(math.e), None: 0.0}[target]
    assert cls == pytest.approx(expected, abs=1e-6)
    assert (box > 0) == refined


def test_a_roi_without_points_learns_nothing():
    assert roi_losses(0.7, filled=False) == [0.0, 0.0]
