"""Boxes that a second stage judges, against a loop, and the judge against its own detector."""

import pytest
import torch

from kdbench.geometry.nms import rotated_nms
from kdbench.methods.cakdp import CaKDP
from kdbench.training.conformance import tiny_scene
from tests.methods.frozen import network

STUDENT = network(16)
SCENE = tiny_scene(STUDENT.point_range)


@pytest.fixture
def heads(generator):
    shape = 2, *STUDENT.head.anchors.shape[:3]
    cls = torch.randn(*shape, 3, generator=generator) - 2
    codes = 0.1 * torch.randn(*shape, 7, generator=generator)
    return {"head.cls": cls.requires_grad_(), "head.box": codes.requires_grad_()}


def by_height(boxes):
    """A judge that can be told: the higher, the surer."""
    return [box[:, 2].sigmoid() for box in boxes]


def cakdp(**options):
    return CaKDP(STUDENT.taps, {}, **options)


@pytest.mark.parametrize("overlap, count", [(0.7, 100), (0.1, 5)])
def test_equals_a_loop_over_frames(heads, overlap, count):
    method = cakdp(score=0.4, overlap=overlap, count=count, weight=3.0)
    found = method(heads, {"judge": by_height}, SCENE)["cls"]
    boxes = STUDENT.head.decode(heads["head.box"]).flatten(1, 3).detach()
    scores = heads["head.cls"].sigmoid().amax(-1).flatten(1).detach()
    total, judged = 0.0, 0
    for own, sure in zip(boxes, scores, strict=True):
        order = [i for i in sure.argsort(descending=True).tolist() if sure[i] > 0.4][: 4 * count]
        kept = [order[j] for j in rotated_nms(own[order], sure[order], overlap, count)]
        total += sum((sure[i] - own[i, 2].sigmoid()) ** 2 for i in kept)
        judged += len(kept)
    assert judged > 5
    assert found.item() == pytest.approx(3 * total.item() / judged, rel=1e-4)
    assert method.logs["boxes_judged"] == judged


def test_scores_learn_and_boxes_do_not(heads):
    cakdp(score=0.4)(heads, {"judge": by_height}, SCENE)["cls"].backward()
    assert heads["head.cls"].grad.abs().sum() > 0
    assert heads["head.box"].grad is None


def test_a_student_that_is_sure_of_nothing_has_a_loss_of_zero(heads):
    loss = cakdp(score=1.0)(heads, {"judge": by_height}, SCENE)["cls"]
    assert loss == 0
    loss.backward()
    assert heads["head.cls"].grad.abs().sum() == 0


def test_a_judge_says_of_its_own_proposals_what_its_detector_says():
    teacher = network(16, "pointrcnn")
    with torch.no_grad():
        taps = teacher(teacher.prepare(SCENE))
    refined = taps["_refinement"]
    found = taps["judge"]([refined.rois.boxes[refined.rois.frame == i] for i in range(2)])
    expected = refined.cls.sigmoid() * refined.filled
    assert refined.filled.any()
    torch.testing.assert_close(torch.cat(found), expected)


def test_a_box_without_points_and_a_frame_without_boxes():
    teacher = network(16, "pointrcnn")
    with torch.no_grad():
        judge = teacher(teacher.prepare(SCENE))["judge"]
    above = torch.tensor([[10.0, 0, 30, 4, 2, 1.5, 0]])
    some, none = judge([above, above[:0]])
    assert some.tolist() == [0.0] and none.shape == (0,)
