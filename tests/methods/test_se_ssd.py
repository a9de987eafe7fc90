"""Consistency of boxes against a loop over anchors."""

import math

import numpy as np
import pytest
import torch
from shapely import affinity
from shapely.geometry import box as rectangle

from kdbench.methods.se_ssd import SESSD
from kdbench.taps import Kind, TapSpec

SHAPE = (2, 3, 4, 2)  # frames, height, width, anchors


def anchors():
    x, y = torch.meshgrid(torch.arange(4.0), torch.arange(3.0), indexing="xy")
    zero = torch.zeros(3, 4)
    car = torch.stack([x, y, zero, zero + 3, zero + 2, zero + 1.5, zero], dim=-1)
    return torch.stack([car, car + torch.tensor([0, 0, 0, 0, 0, 0, 1.5])], dim=2).double()


SPECS = {
    "head.cls": TapSpec(Kind.CLS, 3),
    "head.box": TapSpec(Kind.BOX, 7, 1.0, decode=lambda codes: codes + anchors()),
}


def se_ssd(done=1.0, **options):
    method = SESSD(SPECS, SPECS, **options)
    method.after_step(None, None, done * 100, 100)
    return method


@pytest.fixture
def pair(generator):
    """Student and teacher that agree more or less, on a third of the anchors."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    cls, box = 2 * normal(*SHAPE, 3) - 2, 0.1 * normal(*SHAPE, 7)
    return [
        {"head.cls": cls + 0.3 * normal(*SHAPE, 3), "head.box": box + 0.1 * normal(*SHAPE, 7)}
        for _ in range(2)
    ]


def polygon(box):
    x, y, _, length, width, _, yaw = box
    upright = rectangle(x - length / 2, y - width / 2, x + length / 2, y + width / 2)
    return affinity.rotate(upright, yaw, origin=(x, y), use_radians=True)


def smooth_l1(x):
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def found_by(taps, frame):
    """(box, score, class) of the anchors with a score of 0.3."""
    boxes = taps["head.box"][frame].detach().numpy() + anchors().numpy()
    scores = 1 / (1 + np.exp(-taps["head.cls"][frame].detach().numpy()))
    return [
        (boxes[at], scores[at].max(), scores[at].argmax())
        for at in np.ndindex(SHAPE[1:])
        if scores[at].max() >= 0.3
    ]


def loop(student, teacher):
    box = score = matched = 0
    for frame in range(SHAPE[0]):
        for b_s, p_s, c_s in found_by(student, frame):
            best, partner = 0.7, None
            for b_t, p_t, c_t in found_by(teacher, frame):
                a, b = polygon(b_s), polygon(b_t)
                iou = a.intersection(b).area / a.union(b).area
                if c_s == c_t and iou > best:
                    best, partner = iou, (b_t, p_t)
            if partner:
                matched += 1
                difference = b_s - partner[0]
                difference[6] = math.sin(difference[6])
                box += sum(map(smooth_l1, difference)) / 7
                score += smooth_l1(p_s - partner[1])
    assert 5 < matched < 48
    return {"box": box / matched, "score": score / matched}, matched


def test_equals_a_loop(pair, batch):
    method = se_ssd()
    expected, matched = loop(*pair)
    found = method(*pair, batch)
    assert {name: x.item() for name, x in found.items()} == pytest.approx(expected)
    assert method.logs["matched"] == matched


@pytest.mark.parametrize("done, share", [(0.0, math.exp(-5)), (0.125, math.exp(-1.25)), (0.25, 1)])
def test_the_weight_rises_over_a_quarter_of_the_training(pair, batch, done, share):
    full, found = se_ssd(weight=3.0)(*pair, batch), se_ssd(done, weight=3.0)(*pair, batch)
    for name, value in found.items():
        assert value.item() == pytest.approx(share * full[name].item())


def test_progress_is_saved_with_the_method():
    other = SESSD(SPECS, SPECS)
    other.load_state_dict(se_ssd(0.1).state_dict())
    assert other.progress.item() == pytest.approx(0.1)


def test_without_a_ramp_the_weight_is_full(pair, batch):
    found, full = (m(*pair, batch)["box"] for m in (se_ssd(0.01, ramp=0.0), se_ssd()))
    assert found == full


def test_equal_boxes_cost_nothing(pair, batch):
    assert sum(se_ssd()(pair[0], pair[0], batch).values()) == 0


def test_half_a_turn_is_no_difference(pair, batch):
    turned = pair[0]["head.box"] + torch.tensor([0, 0, 0, 0, 0, 0, math.pi])
    terms = se_ssd()(pair[0], {**pair[0], "head.box": turned}, batch)
    assert terms["box"].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("silent", [(0,), (1,), (0, 1)])
def test_no_confident_box_costs_nothing(pair, batch, silent):
    for side in silent:
        pair[side]["head.cls"] = torch.full((*SHAPE, 3), -9.0).double()
    student = {name: x.requires_grad_() for name, x in pair[0].items()}
    loss = sum(se_ssd()(student, pair[1], batch).values())
    loss.backward()
    assert loss == 0 and not student["head.cls"].grad.any()


def test_classes_do_not_mix(pair, batch):
    other = {**pair[0], "head.cls": pair[0]["head.cls"].roll(1, -1)}
    method = se_ssd()
    method(pair[0], other, batch)
    assert method.logs["matched"] < len(found_by(pair[0], 0)) + len(found_by(pair[0], 1))
    one_class = torch.full((*SHAPE, 3), -9.0).double()
    one_class[..., 0] = 2
    method({**pair[0], "head.cls": one_class}, {**pair[0], "head.cls": one_class.flip(-1)}, batch)
    assert method.logs["matched"] == 0


def test_gradient_equals_a_finite_difference(pair, batch):
    (student, teacher), method = pair, se_ssd()

    def loss(taps):
        return sum(method(taps, teacher, batch).values())

    leaves = {name: x.clone().requires_grad_() for name, x in student.items()}
    loss(leaves).backward()
    for name, x in student.items():
        direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
        up, down = (loss(student | {name: x + e * direction}).item() for e in (1e-6, -1e-6))
        slope = (leaves[name].grad * direction).sum().item()
        assert slope == pytest.approx((up - down) / 2e-6, rel=1e-4)
