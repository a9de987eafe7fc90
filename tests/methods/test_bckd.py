"""Binary classification distillation against a loop over anchors."""

import math

import numpy as np
import pytest
import torch

from kdbench.methods.bckd import BinaryClassificationDistillation
from kdbench.ops.anchors import on_objects
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES, tiny_scene

DETECTOR = build_detector(build_spec(profile="tiny").detector, CLASSES)
SHAPE = (2, *DETECTOR.head.anchors.shape[:3])


@pytest.fixture
def heads(generator):
    def head():
        cls = torch.randn(*SHAPE, 3, generator=generator, dtype=torch.float64) - 1
        return {"head.cls": cls, "head.box": torch.randn(*SHAPE, 7, generator=generator).double()}

    return head(), head()


@pytest.fixture
def scene():
    return tiny_scene(DETECTOR.point_range)


def bckd(**options):
    return BinaryClassificationDistillation(DETECTOR.taps, DETECTOR.taps, **options)


def smooth_l1(x):
    x = abs(x)
    return 4.5 * x * x if x < 1 / 9 else x - 1 / 18


def test_equals_a_loop_over_anchors(heads, scene):
    student, teacher = heads
    found = bckd(cls_weight=2.0, box_weight=3.0)(student, teacher, scene)
    p_s, p_t = (x["head.cls"].sigmoid().numpy() for x in heads)
    b_s, b_t = (x["head.box"].numpy() for x in heads)
    cls = box = 0.0
    for place in np.ndindex(*SHAPE):
        gaps = np.abs(p_t[place] - p_s[place])
        for gap, s, t in zip(gaps, p_s[place], p_t[place], strict=True):
            cls -= gap * (t * math.log(s) + (1 - t) * math.log(1 - s))
        difference = b_s[place] - b_t[place]
        difference[6] = math.sin(difference[6])
        box += gaps.max() * sum(map(smooth_l1, difference))
    spec = DETECTOR.taps["head.box"]
    objects = int(on_objects(teacher["head.box"], spec, scene.boxes, 0.5).sum())
    assert objects > 1
    assert found["cls"].item() == pytest.approx(2 * cls / objects)
    assert found["box"].item() == pytest.approx(3 * box / objects)


def test_the_gap_learns_in_the_scores_and_is_a_constant_for_the_boxes(heads, scene):
    student, teacher = heads
    for tap in student.values():
        tap.requires_grad_()
    loss = bckd()(student, teacher, scene)
    (z,) = torch.autograd.grad(loss["box"], student["head.cls"], allow_unused=True)
    assert z is None
    assert torch.autograd.grad(loss["cls"], student["head.cls"])[0].abs().sum() > 0
    assert torch.autograd.grad(loss["box"], student["head.box"])[0].abs().sum() > 0


def test_equal_heads_cost_nothing(heads, scene):
    assert sum(bckd()(heads[0], heads[0], scene).values()) == 0


def test_without_objects_there_is_a_finite_loss(heads, batch):
    loss = bckd()(*heads, batch)
    assert all(term > 0 and term.isfinite() for term in loss.values())
