"""Pivotal-position distillation against loops over anchors."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.sparsekd import SparseKD
from kdbench.ops.regions import centre_heat
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.taps import Kind, TapSpec
from kdbench.training.conformance import CLASSES, tiny_scene

DETECTOR = build_detector(build_spec(profile="tiny").detector, CLASSES)
SHAPE = DETECTOR.head.anchors.shape[:3]


def head(generator, shape=(2, *SHAPE)):
    cls = torch.randn(*shape, 3, generator=generator, dtype=torch.float64) - 1
    return {"head.cls": cls, "head.box": torch.randn(*shape, 7, generator=generator).double()}


@pytest.fixture
def heads(generator):
    return head(generator), head(generator)


@pytest.fixture
def scene():
    return tiny_scene(DETECTOR.point_range)


def sparsekd(**options):
    return SparseKD(DETECTOR.taps, DETECTOR.taps, **options)


def sides(box):
    """x0, y0, x1, y1 of a box turned to the nearest right angle."""
    x, y, _, length, width, _, yaw = box
    if abs(math.sin(yaw)) > math.sqrt(0.5):
        length, width = width, length
    return x - length / 2, y - width / 2, x + length / 2, y + width / 2


def iou(a, b):
    a, b = sides(a), sides(b)
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(s[2] - s[0]) * (s[3] - s[1]) for s in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def mask_of(variant, score, boxes):
    """The mask (H, W, A) of one frame, anchor by anchor."""
    anchors, mask = DETECTOR.head.anchors.double().numpy(), np.zeros(score.shape)
    if variant == "positive":
        table = np.array([[iou(a, b) for b in boxes] for a in anchors.reshape(-1, 7)])
        for column in table.T:
            mask.reshape(-1)[(column >= 0.5) | (column == column.max())] = 1
    elif variant == "confidence":
        mask[score > 0.3] = 1
    elif variant == "rank":
        mask.reshape(-1)[np.argsort(-score, axis=None)[:100]] = 1
    else:
        for place in np.ndindex(score.shape):
            x, y = anchors[place][:2]
            for b in boxes:
                sigma = max(1.28, math.hypot(b[3], b[4]) / 6)
                near = math.exp(-((x - b[0]) ** 2 + (y - b[1]) ** 2) / (2 * sigma**2))
                mask[place] = max(mask[place], near * score[place])
    return mask


def smooth_l1(x, beta=1 / 9):
    return 0.5 * x * x / beta if abs(x) < beta else abs(x) - beta / 2


def loop(variant, student, teacher, batch):
    p_s, p_t = (1 / (1 + np.exp(-taps["head.cls"].numpy())) for taps in (student, teacher))
    b_s, b_t = (taps["head.box"].numpy() for taps in (student, teacher))
    cls = box = total = 0.0
    for frame, boxes in enumerate(batch.boxes):
        mask = mask_of(variant, p_t[frame].max(-1), boxes.double().numpy())
        total += mask.sum()
        for place in zip(*np.nonzero(mask), strict=True):
            at = (frame, *place)
            cls += mask[place] * ((p_s[at] - p_t[at]) ** 2).sum()
            difference = b_s[at] - b_t[at]
            difference[6] = math.sin(difference[6])
            box += mask[place] * sum(map(smooth_l1, difference))
    return {"cls": 15 * cls / total, "box": 0.2 * box / total}


@pytest.mark.parametrize("variant", SparseKD.variants)
def test_equals_a_loop(heads, scene, variant):
    found = sparsekd(variant=variant)(*heads, scene)
    expected = loop(variant, *heads, scene)
    assert {name: x.item() for name, x in found.items()} == pytest.approx(expected)


@pytest.mark.parametrize("variant", SparseKD.variants)
def test_equal_heads_cost_nothing(heads, scene, variant):
    assert sum(sparsekd(variant=variant)(heads[0], heads[0], scene).values()) == 0


def test_every_box_has_a_positive_anchor_of_its_own_size(heads, scene):
    mask = sparsekd()._mask(heads[1], scene)
    anchors = DETECTOR.head.anchors[mask[0].bool()]
    for box in scene.boxes[0]:
        near = (anchors[:, :2] - box[:2]).norm(dim=1) < 2
        assert (anchors[near, 5] - box[5]).abs().min() < 0.01
    assert not mask[1].any()


@pytest.mark.parametrize("variant", SparseKD.variants)
def test_without_objects_the_loss_is_zero_with_a_gradient(heads, scene, variant):
    student, teacher = heads
    nothing = {**teacher, "head.cls": torch.full_like(teacher["head.cls"], -30.0)}
    scene.boxes[0] = scene.boxes[0][:0]
    student["head.cls"].requires_grad_()
    loss = sum(sparsekd(variant=variant)(student, nothing, scene).values())
    loss.backward()
    assert loss.isfinite() and student["head.cls"].grad.isfinite().all()
    if variant != "rank":  # which always takes some
        assert loss == 0


@pytest.mark.parametrize("variant", SparseKD.variants)
def test_gradient_equals_finite_differences(generator, variant):
    shape = (1, 2, 2, 2)
    anchors = torch.tensor([[0.0, 0, 0, 2, 1, 1, 0]]).double().expand(*shape[1:], 7)
    box = TapSpec(Kind.BOX, 7, 1.0, decode=lambda codes: codes + anchors)
    specs = {"head.cls": TapSpec(Kind.CLS, 3), "head.box": box}
    scene = tiny_scene(DETECTOR.point_range)
    scene.boxes = [torch.tensor([[0.2, 0.1, 0, 2, 1, 1, 0]])]
    method, teacher = SparseKD(specs, specs, variant=variant, rank=3), head(generator, shape)

    def loss(cls, codes):
        return sum(method({"head.cls": cls, "head.box": codes}, teacher, scene).values())

    student = [x.requires_grad_() for x in head(generator, shape).values()]
    assert gradcheck(loss, student)


def test_heat_is_one_at_a_centre_and_falls_to_the_corners():
    spec = TapSpec(Kind.BOX, 7, 0.5, (0.0, 0.0))
    box = torch.tensor([[2.25, 1.25, 0, 4, 3, 1, 0.7]])  # half diagonal 2.5, so sigma 5/6
    (heat, empty) = centre_heat([box, box[:0]], spec, 12, 12)
    assert heat[2, 4] == 1 == heat.max()
    assert heat[2, 9].item() == pytest.approx(math.exp(-4.5))  # 2.5 m away: 3 sigma
    assert not empty.any()
